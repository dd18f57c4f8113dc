"""Waves: the same rows as plain sampling, no more than needed, and a killed step that goes on."""

import shutil

import pyarrow as pa
import pytest

from engine.errors import SpecError
from engine.generate.budget import Target
from engine.generate.steps import steps
from engine.generate.until import Tally, check, sample
from engine.score import Verdict, Verifier, verifiers
from engine.step import Ref
from generate_tiny import Fake, prompts, save, spec, torn

TRAIN = Ref("prompts", "train")
asked: list[str] = []


@verifiers.register("has_a")
class HasA(Verifier):
    """Right where the answer has an 'a'; writes down what it is asked."""

    references = False

    def verify(self, answer):
        asked.append(answer.response)
        right = "a" in answer.response
        return Verdict(float(right), "right" if right else "wrong")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "policy")


@pytest.fixture(autouse=True)
def _forget():
    asked.clear()


def _fake(folder, model, n=12, plan=None, **generate):
    made = {"max_tokens": 6, "batch": 12, "plan": None if plan is None else "own"} | generate
    more = {"plan": [{"name": "own", "sql": "plan.sql"}]} if plan is not None else {}
    ctx = Fake(spec(generate=made, score=[{"verifier": "has_a"}], **more), folder, {TRAIN: prompts([f"q{i}" for i in range(n)])}, model)
    if plan is not None:
        ctx.parts[Ref("plan", "own")] = pa.Table.from_pylist(
            plan, schema=pa.schema([(name, pa.string()) for name in ("key", "item_id", "value")])
        )
    return ctx


def _run(ctx):
    return steps(ctx.spec)[0].run(ctx)


def _rows(ctx):
    return _run(ctx).rows["generations", "rollout"].drop_columns(["seconds"])


def _right(rows):
    return ["a" in text for text in rows["response"].to_pylist()]


def test_an_unreachable_target_equals_plain_sampling_bit_for_bit(tmp_path, model):
    plain = _rows(_fake(tmp_path / "plain", model, samples=7))
    for wave in (1, 3, 7, 50):
        waves = _fake(tmp_path / f"wave{wave}", model, until={"right": 1000, "cap": 7, "wave": wave})
        assert _rows(waves).equals(plain)


def test_waves_change_no_row_that_both_have(tmp_path, model):
    by_wave = {}
    for wave in (1, 2, 5):
        rows = _rows(_fake(tmp_path / str(wave), model, until={"right": 2, "cap": 20, "wave": wave})).to_pylist()
        by_wave[wave] = {row["generation_id"]: row for row in rows}
    assert len(by_wave[1]) < len(by_wave[2]) < len(by_wave[5])
    for wave in (2, 5):
        assert by_wave[1].items() <= by_wave[wave].items()


def test_a_prompt_stops_at_its_target_or_at_the_cap(tmp_path, model):
    ctx = _fake(tmp_path, model, until={"right": 2, "wrong": 1, "cap": 9, "wave": 1})
    output = _run(ctx)
    rows = output.rows["generations", "rollout"]
    counts: dict[str, list[bool]] = {}
    for prompt, number, right in zip(rows["prompt_id"].to_pylist(), rows["sample"].to_pylist(), _right(rows), strict=True):
        counts.setdefault(prompt, []).append(right)
        assert len(counts[prompt]) == number + 1, "in order, none left out"
    short = 0
    for answers in counts.values():
        done = [sum(answers[:n]) >= 2 and n - sum(answers[:n]) >= 1 for n in range(len(answers) + 1)]
        assert not any(done[:-1]) and (done[-1] or len(answers) == 9)
        short += not done[-1]
    assert 0 < short < 12, "the test needs both kinds"
    detail = output.detail
    assert (detail["trials"], detail["right"], detail["prompts_short"]) == (rows.num_rows, sum(_right(rows)), short)
    assert detail["deficit_right"] == sum(max(0, 2 - sum(a)) for a in counts.values())
    assert detail["deficit_wrong"] == sum(max(0, 1 - (len(a) - sum(a))) for a in counts.values())
    assert detail["until"]["cap"] == 9 and detail["waves"] == 9
    assert f"{short} of 12 prompts used up their trials" in ctx.progress.notes[-1]


def test_equal_answers_are_judged_once_in_all_waves(tmp_path, model):
    output = _run(_fake(tmp_path, model, n=40, max_tokens=2, until={"right": 50, "cap": 12, "wave": 3}))
    rows, verdicts = output.rows["generations", "rollout"], output.rows["scores", "until/has_a"]
    assert set(verdicts["item_id"].to_pylist()) == set(rows["generation_id"].to_pylist()), "the score step takes them from there"
    assert len(asked) == len(set(asked)) == len(set(rows["response"].to_pylist())) < rows.num_rows


def test_a_killed_step_goes_on_and_ends_the_same(tmp_path, model):
    until = {"right": 2, "cap": 9, "wave": 2}
    whole = _rows(_fake(tmp_path / "whole", model, until=until))
    ctx = _fake(tmp_path / "killed", model, until=until)
    _run(ctx)
    folders = sorted(folder.name for folder in ctx.journal.iterdir())
    assert {"wave-0000", "wave-0001", "judged-0000"} <= set(folders)
    torn(ctx.journal / "wave-0001", 3)  # as if killed in the second wave: everything after its third answer is not there
    for later in [folder for folder in ctx.journal.iterdir() if folder.name > "wave-0001" or "judged-0000" < folder.name < "wave"]:
        shutil.rmtree(later)
    ctx.progress = type(ctx.progress)()
    asked.clear()
    first_wave = set(whole.filter(pa.array([k < 2 for k in whole["sample"].to_pylist()]))["response"].to_pylist())
    assert _rows(ctx).equals(whole)
    assert not set(asked) & first_wave, "verdicts of finished waves are taken from the journal"


def test_a_plan_gives_each_prompt_its_own_count(tmp_path, model):
    ids = prompts([f"q{i}" for i in range(4)])["prompt_id"].to_pylist()
    plan = [
        ("samples", None, "2"),
        ("samples", ids[1], "5"),
        ("samples", ids[2], "0"),
        ("temperature", None, "0.5"),
        ("other", None, '"x"'),
    ]
    plan = [dict(zip(("key", "item_id", "value"), row, strict=True)) for row in plan]
    ctx = _fake(tmp_path / "a", model, 4, plan, samples=3)
    output = _run(ctx)
    rows = output.rows["generations", "rollout"]
    counts = [rows["prompt_id"].to_pylist().count(prompt) for prompt in ids]
    assert counts == [2, 5, 0, 2]
    assert set(rows["temperature"].to_pylist()) == {0.5}
    assert output.detail["prompts_not_asked"] == 1
    assert output.detail["plan"] == {"temperature": 0.5, "keys_for_others": ["other"]}
    plain = _rows(_fake(tmp_path / "b", model, 4, samples=5, temperature=0.5)).to_pylist()
    expected = [row for row in plain if row["sample"] < dict(zip(ids, counts, strict=True))[row["prompt_id"]]]
    assert rows.drop_columns(["seconds"]).to_pylist() == expected, "ids cover the temperature that was used"


def test_a_plan_gives_each_prompt_its_own_temperature(tmp_path, model):
    ids = prompts([f"q{i}" for i in range(3)])["prompt_id"].to_pylist()
    plan = [{"key": "temperature", "item_id": ids[1], "value": "0.5"}, {"key": "top_p", "item_id": ids[2], "value": "0.25"}]
    rows = _rows(_fake(tmp_path / "a", model, 3, plan, samples=4)).to_pylist()
    assert {(ids.index(r["prompt_id"]), r["temperature"], r["top_p"]) for r in rows} == {(0, 1.0, 1.0), (1, 0.5, 1.0), (2, 1.0, 0.25)}
    for number, settings in enumerate(({}, {"temperature": 0.5}, {"top_p": 0.25})):
        plain = _rows(_fake(tmp_path / str(number), model, 3, samples=4, **settings)).to_pylist()
        assert [r for r in rows if r["prompt_id"] == ids[number]] == [r for r in plain if r["prompt_id"] == ids[number]]


def test_a_plan_gives_each_prompt_its_own_target(tmp_path, model):
    ids = prompts([f"q{i}" for i in range(4)])["prompt_id"].to_pylist()
    plan = [{"key": "right", "item_id": prompt, "value": str(n + 1)} for n, prompt in enumerate(ids)]
    plan += [{"key": "cap", "item_id": ids[0], "value": "1"}, {"key": "right", "item_id": "gone", "value": "3"}]
    ctx = _fake(tmp_path, model, 4, plan, until={"cap": 900, "wave": 1})
    output = _run(ctx)
    rows = output.rows["generations", "rollout"]
    right = dict.fromkeys(ids, 0)
    for prompt, is_right in zip(rows["prompt_id"].to_pylist(), _right(rows), strict=True):
        right[prompt] += is_right
    assert rows["prompt_id"].to_pylist().count(ids[0]) == 1
    assert [right[prompt] for prompt in ids[1:]] == [2, 3, 4]
    assert output.detail["plan"] == {"prompts_not_in_round": 1}


def test_recorded_answers_come_in_waves_too(tmp_path):
    lines = [f'{{"prompt": "q{i}", "response": {["b"] * i + ["a"] * (6 - i)}}}'.replace("'", '"') for i in range(4)]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    until = {"right": 2, "cap": 4, "wave": 1}
    ctx = _fake(tmp_path, None, 4, backend="recorded", params={"path": "answers.jsonl"}, until=until)
    rows = _run(ctx).rows["generations", "rollout"]
    ids = ctx.parts[TRAIN]["prompt_id"].to_pylist()
    found = [[r["response"] for r in rows.to_pylist() if r["prompt_id"] == prompt] for prompt in ids]
    assert found == [["a", "a"], ["b", "a", "a"], ["b", "b", "a", "a"], ["b", "b", "b", "a"]]


def test_what_enters_the_fingerprint(tmp_path):
    place = tmp_path / "spec.yaml"

    def settings(verifier="has_a", **until):
        made = spec(generate={"until": {"right": 1, "cap": 8} | until}, score=[{"verifier": verifier, "name": "v"}])
        return steps(made)[0].settings(made, 0, place)

    base = settings()
    assert settings() == base
    different = [settings(right=2), settings(wrong=1), settings(cap=9), settings(bar=0.5), settings(wave=2), settings("math")]
    assert all(other != base for other in different)


def test_until_needs_a_verifier_and_draws():
    with pytest.raises(SpecError, match="nothing says which answers are right"):
        check(spec(generate={"until": {"right": 1, "cap": 2}}))
    with pytest.raises(SpecError, match="temperature 0"):
        check(spec(generate={"until": {"right": 1, "cap": 2}, "temperature": 0}, score=[{"verifier": "has_a"}]))


def test_an_answer_without_a_score_is_wrong():
    tally = Tally({"p": Target(None, 2, 9)}, 1.0)
    waves = sample(
        pa.table({"prompt_id": ["p"]}), tally, 1, lambda asks, _: asks, lambda rows, wave: [[None, 1.0, 0.5][wave]] * rows.num_rows
    )[1]
    assert (waves, tally.right["p"], tally.wrong("p")) == (3, 1, 2)
