"""Waves that stop on agreement: which answers agree, with and without targets beside it, with and without a scorer."""

import pyarrow as pa
import pytest

import stand_in
from engine.errors import SpecError, StepError
from engine.generate.steps import steps
from engine.generate.until import check
from engine.step import Ref
from generate_tiny import Fake, prompts, spec
from stand_in import Script

TRAIN = Ref("prompts", "train")
MATH = ({"verifier": "math"},)


@pytest.fixture(autouse=True)
def script(monkeypatch):
    made = Script()
    monkeypatch.setattr(stand_in, "script", made)
    return made


def _says(script, **texts):
    """Each question's answers in order, the last one for ever."""
    script.answer = lambda step, question, number, most: (texts[question][min(number, len(texts[question]) - 1)], 1)


def _run(folder, questions, until, score=(), plan=None, references=None):
    made = {"backend": "stand_in", "max_tokens": 10, "until": until} | ({"plan": "own"} if plan is not None else {})
    more = {"plan": [{"name": "own", "sql": "plan.sql"}]} if plan is not None else {}
    asked = prompts(questions)
    if references:
        asked = asked.set_column(asked.column_names.index("reference"), "reference", pa.array(references, pa.string()))
    ctx = Fake(spec(generate=made, score=list(score), **more), folder, {TRAIN: asked})
    if plan is not None:
        schema = pa.schema([(name, pa.string()) for name in ("key", "item_id", "value")])
        ctx.parts[Ref("plan", "own")] = pa.Table.from_pylist(plan, schema=schema)
    check(ctx.spec)
    output = steps(ctx.spec)[0].run(ctx)
    rows, ids = output.rows["generations", "rollout"], asked["prompt_id"].to_pylist()
    return {question: rows["prompt_id"].to_pylist().count(prompt) for question, prompt in zip(questions, ids, strict=True)}, output


def test_unanimous_prompts_stop_and_others_go_on_to_their_cap(tmp_path, script):
    _says(
        script,
        same=["Answer: 7", r"so \boxed{7.0}", "it is\n#### 7"],
        once=["Answer: 7", "Answer: 8", "Answer: 7"],
        late=["Answer: 7", "Answer: 7", "Answer: 8"],
        none=[""],
    )
    counts, output = _run(tmp_path, ["same", "once", "late", "none"], {"agree": 3, "cap": 6, "wave": 1})
    assert counts == {"same": 3, "once": 6, "late": 6, "none": 6}
    detail = output.detail
    assert (detail["prompts_agreed"], detail["trials"], detail["waves"]) == (1, 21, 6)
    assert not {"right", "prompts_short", "deficit_right"} & set(detail), "nobody judged them"
    assert {table for table, _ in output.rows} == {"generations"}


def test_it_looks_between_waves_and_at_all_answers_so_far(tmp_path, script):
    _says(script, early=["Answer: 1", "Answer: 1", "Answer: 2"], fine=["Answer: 1"])
    counts, _ = _run(tmp_path, ["early", "fine"], {"agree": 2, "cap": 8, "wave": 3})
    assert counts == {"early": 8, "fine": 3}


def test_the_first_verifier_says_what_the_final_answer_is(tmp_path, script):
    _says(script, q=["The answer is 1/2", "The answer is 0.5", "First 3, then 0.50"])
    until = {"agree": 3, "cap": 6, "wave": 3}
    assert _run(tmp_path / "math", ["q"], until, MATH)[0] == {"q": 3}
    assert _run(tmp_path / "text", ["q"], until, [{"verifier": "exact"}])[0] == {"q": 6}, "exact compares whole texts"
    pattern = {"verifier": "exact", "params": {"pattern": "^(The|First)", "lower": True}}
    assert _run(tmp_path / "pattern", ["q"], until, [pattern])[0] == {"q": 6}
    _says(script, q=["I take (B)", "Answer: B", "b) it is: the answer is B."])
    assert _run(tmp_path / "choice", ["q"], until, [{"verifier": "choice"}])[0] == {"q": 3}


def test_a_prompt_is_done_by_either(tmp_path, script):
    _says(script, agrees=["Answer: 9"], right=["Answer: 9", "Answer: 4"], never=["Answer: 9", "Answer: 8"])
    until = {"agree": 4, "right": 2, "cap": 6, "wave": 1}
    counts, output = _run(tmp_path, ["agrees", "right", "never"], until, MATH, references=["4", "4", "4"])
    assert counts == {"agrees": 4, "right": 3, "never": 6}
    detail = output.detail
    assert (detail["prompts_agreed"], detail["right"]) == (1, 2)
    assert (detail["prompts_short"], detail["deficit_right"]) == (1, 2), "the one that agreed misses nothing"
    assert output.rows["scores", "until/math"].num_rows == 13


def test_with_agreement_alone_a_scorer_judges_nothing(tmp_path, script):
    _says(script, q=["Answer: 9"])
    _, output = _run(tmp_path, ["q"], {"agree": 2, "cap": 6, "wave": 2}, MATH, references=["4"])
    assert {table for table, _ in output.rows} == {"generations"}
    writes = steps(spec(generate={"until": {"agree": 2, "cap": 6}}, score=list(MATH)))[0].writes()
    assert writes == [("generations", "rollout")]


def test_a_plan_beside_it(tmp_path, script):
    _says(script, a=["Answer: 1"], b=["Answer: 1", "Answer: 2"])
    ids = prompts(["a", "b"])["prompt_id"].to_pylist()
    until = {"agree": 3, "cap": 9, "wave": 1}
    cap = [{"key": "cap", "item_id": ids[1], "value": "5"}]
    assert _run(tmp_path / "cap", ["a", "b"], until, plan=cap)[0] == {"a": 3, "b": 5}
    right = [{"key": "right", "item_id": ids[0], "value": "1"}]
    assert _run(tmp_path / "right", ["a", "b"], until, MATH, right, ["1", "7"])[0] == {"a": 1, "b": 9}
    with pytest.raises(StepError, match="nothing says which answers are right"):
        _run(tmp_path / "unjudged", ["a", "b"], until, plan=right)


def test_what_cannot_work():
    for until, text in (({"agree": 5, "cap": 4}, "expected at most cap, 4, found 5"), ({"agree": 2, "right": 1, "cap": 4}, "nothing says")):
        with pytest.raises(SpecError, match=text):
            check(spec(generate={"until": until}))
    check(spec(generate={"until": {"agree": 2, "cap": 4}}, score=[{"measure": "logprob"}]))
    with pytest.raises(SpecError, match="is a measure"):
        check(spec(generate={"until": {"agree": 2, "right": 1, "cap": 4}}, score=[{"measure": "logprob"}]))


def test_what_enters_the_fingerprint(tmp_path):
    def settings(until, score=MATH):
        made = spec(generate={"until": {"cap": 8} | until}, score=list(score))
        return steps(made)[0].settings(made, 0, tmp_path / "spec.yaml")

    base = settings({"agree": 2})
    assert base == settings({"agree": 2}) and "judge" not in base
    others = [settings({"agree": 3}), settings({"agree": 2, "right": 1}), settings({"agree": 2}, ())]
    others.append(settings({"agree": 2}, [{"verifier": "exact", "params": {"lower": True}}]))
    assert all(other != base for other in others)
    assert "finals" not in settings({"right": 1})
