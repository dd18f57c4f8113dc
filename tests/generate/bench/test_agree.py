"""Answers of settings side by side: what promises equality, and what only reports."""

from engine.generate.bench import Setting
from engine.generate.bench.agree import agreements
from engine.step import Device

CPU, GPU = Device("cpu", 1, "float32"), Device("cuda:0", 1, "bfloat16")
A, B, C = (Setting("transformers", "batch", size, None, threads) for size, threads in ((8, 1), (16, 1), (8, 2)))
V = Setting("vllm", "batch", 8, None, 1)
SAME = {("p", 0): "x", ("p", 1): "y", ("q", 0): "z"}


def test_equal_answers_keep_the_promise_over_what_both_gave() -> None:
    (pair,) = agreements({A: SAME, B: {("p", 0): "x", ("r", 0): "w"}}, {}, CPU, greedy=False)
    assert (pair.one, pair.other, pair.answers, pair.differ, pair.promised, pair.broken) == (A, B, 1, 0, True, False)


def test_another_answer_breaks_it_only_where_it_was_promised() -> None:
    changed = SAME | {("p", 1): "other"}
    (pair,) = agreements({A: SAME, B: changed}, {}, CPU, greedy=False)
    assert pair.broken and (pair.differ, pair.example) == (1, ("p", 1))
    assert not agreements({A: SAME, B: changed}, {}, GPU, greedy=False)[0].broken
    (threads,) = agreements({A: SAME, C: changed}, {}, CPU, greedy=False)
    assert threads.differ == 1 and not threads.promised and not threads.broken


def test_a_setting_that_contradicts_itself_is_told() -> None:
    (pair,) = agreements({A: SAME}, {A: 2}, CPU, greedy=False)
    assert pair.again == 2 and pair.broken


def test_other_backends_are_compared_only_where_nothing_is_drawn() -> None:
    assert agreements({A: SAME, V: {("p", 0): "n"}}, {}, CPU, greedy=False) == []
    (pair,) = agreements({A: SAME, V: {("p", 0): "n"}}, {}, CPU, greedy=True)
    assert pair.differ == 1 and not pair.promised
