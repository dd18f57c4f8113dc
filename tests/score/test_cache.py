"""What a scorer has scored once is taken from the lake: in later rounds, in other experiments, after waves; failures are not."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import pyarrow as pa
import pytest

from engine import tables
from engine.ids import content_id
from engine.lake import Lake
from engine.rows import content_hash, own_columns
from engine.score import Params, Verdict, Verifier, cache, verifiers
from engine.score.measured import Measured
from engine.score.measures import Measure, measures
from engine.score.steps import steps
from engine.score.waves import Waves
from engine.step import Ref
from fakes import FakeContext, spec_of

TRAIN, ROLLOUT = Ref("prompts", "train"), Ref("generations", "rollout")
asked: Counter[tuple] = Counter()
verdict_of: dict[str, str] = {}  # what `moody` says of a response instead of right or wrong


class MoodyParams(Params):
    bonus: float = 0.0


@verifiers.register("moody")
class Moody(Verifier):
    """The length of the answer, plus a bonus where it is the reference; fails where a test wants it to."""

    Params = MoodyParams

    def verify(self, answer):
        asked["moody", answer.response, answer.reference] += 1
        said = verdict_of.get(answer.response) or ("right" if answer.response == answer.reference else "wrong")
        value = len(answer.response) + self.params.bonus * (said == "right")
        return Verdict(None if said == "error" else value, said, "why" if said != "right" else None, "none")


@verifiers.register("hinted")
class Hinted(Verifier):
    """Needs one key of the prompt's meta and nothing else."""

    references = False

    def fields(self):
        return ("hint",)

    def verify(self, answer):
        asked["hinted", answer.response, answer.meta.get("hint")] += 1
        return Verdict(float(str(answer.meta.get("hint")) in answer.response), None)


@measures.register("two_numbers")
class TwoNumbers(Measure):
    """Length and its square, and what it cost."""

    outputs: ClassVar = ("", "_squared")
    per_answer = True

    def measure(self, ctx, rows):
        found = [len(text) for text in rows["response"].to_pylist()]
        for text in rows["response"].to_pylist():
            asked["two_numbers", text, None] += 1
        made = {"item_id": rows["generation_id"], "value": [float(n) for n in found], "prompt_tokens": [7] * len(found)}
        return {"": pa.table(made), "_squared": pa.table({"item_id": rows["generation_id"], "value": [float(n * n) for n in found]})}


@pytest.fixture(autouse=True)
def _forget():
    yield
    asked.clear()
    verdict_of.clear()


def prompts_table(rows):
    own = [
        {"prompt_id": p, "split": "train", "messages": [{"role": "user", "content": p}], "reference": reference, "meta": meta}
        for p, reference, meta in rows
    ]
    return tables.check("prompts", pa.Table.from_pylist(own))


PROMPTS = prompts_table([("p1", "2", '{"hint": "2", "n": 1}'), ("p2", "2", '{"n": 2, "hint": "2"}'), ("p3", "3", None)])


def generations(answers, prefix="g"):
    own = {"turn": 0, "depth": 0, "is_terminal": True, "actor": "policy", "model": "m", "finish_reason": "stop"}
    rows = [
        own | {"generation_id": f"{prefix}{i}", "content_id": content_id(said), "prompt_id": prompt, "sample": i, "response": said}
        for i, (prompt, said) in enumerate(answers)
    ]
    return tables.check("generations", pa.Table.from_pylist(rows))


class Shared(FakeContext):
    """A context whose lake lies beside its folder, where other contexts have it too."""

    lake = property(lambda self: Lake(str(self.folder.parent / "lake")))


def run(root, experiment, round_, answers, score, prompts=PROMPTS):
    """Runs and commits every scorer of one round; (rows, detail) of each by column."""
    spec = spec_of(experiment=experiment, score=score, combine=" + ".join(s.get("name") or s["verifier"] for s in score))
    found = {}
    for number, step in enumerate(s for s in steps(spec) if s.part.startswith("rollout/") and s.part != "rollout/score"):
        ctx = Shared(spec, root / f"{experiment}-{round_}-{number}-{len(list(root.glob('*')))}", round_)
        ctx.tables = {TRAIN: prompts, ROLLOUT: generations(answers, f"{experiment}{round_}-")}
        out = step.run(ctx)
        for (table, part), rows in out.rows.items():
            ctx.lake.replace(table, rows, experiment=experiment, round=round_, part=part)
            found[part.removeprefix("rollout/")] = (rows.to_pylist(), out.detail)
    return found


MOODY = {"verifier": "moody"}
ANSWERS = [("p1", "2"), ("p1", "five"), ("p2", "2"), ("p3", "2"), ("p1", "2")]


def test_a_second_round_asks_only_for_what_is_new(tmp_path):
    first, detail = run(tmp_path, "one", 0, ANSWERS, [MOODY])["moody"]
    assert detail == {"scored_once": 3, "cached": 0}
    assert asked == {("moody", "2", "2"): 1, ("moody", "five", "2"): 1, ("moody", "2", "3"): 1}
    second, detail = run(tmp_path, "one", 1, [*ANSWERS, ("p3", "five")], [MOODY])["moody"]
    assert detail == {"scored_once": 4, "cached": 3}
    assert asked["moody", "five", "3"] == 1 and sum(asked.values()) == 4, "the same text with another reference is another question"
    same = ("value", "verdict", "detail", "runner", "scorer_version", "cache_key")
    assert [[row[k] for k in same] for row in second[:5]] == [[row[k] for k in same] for row in first]
    assert [row["value"] for row in second] == [1, 4, 1, 1, 1, 4]
    assert all(row["seconds"] == 0 for row in second[:5]) and all(row["seconds"] > 0 for row in [*first, second[5]])


def test_a_second_experiment_asks_nothing(tmp_path):
    own, _ = run(tmp_path, "one", 0, ANSWERS, [MOODY])["moody"]
    asked.clear()
    other, detail = run(tmp_path, "two", 0, ANSWERS, [MOODY])["moody"]
    assert not asked and detail == {"scored_once": 3, "cached": 3}
    assert [row["value"] for row in other] == [row["value"] for row in own]


def test_a_row_from_the_cache_is_the_row_that_would_have_been_computed(tmp_path):
    """Content hashes leave out what a score cost, so nothing downstream runs again."""
    run(tmp_path / "warm", "one", 0, ANSWERS, [MOODY])
    run(tmp_path / "warm", "one", 1, ANSWERS, [MOODY])
    run(tmp_path / "cold", "one", 1, ANSWERS, [MOODY])
    hashes = {
        content_hash(
            "scores", own_columns(Lake(str(tmp_path / name / "lake")).read("scores", experiment="one", rounds=[1], part="rollout/moody"))
        )
        for name in ("warm", "cold")
    }
    assert len(hashes) == 1


def test_a_changed_parameter_asks_only_its_own_scorer_again(tmp_path):
    hinted = {"verifier": "hinted"}
    run(tmp_path, "one", 0, ANSWERS, [MOODY, hinted])
    asked.clear()
    found = run(tmp_path, "one", 0, ANSWERS, [MOODY | {"params": {"bonus": 5.0}}, hinted])
    assert {name for name, *_ in asked} == {"moody"} and sum(asked.values()) == 3
    assert (found["moody"][1]["cached"], found["hinted"][1]["cached"]) == (0, 3)
    assert [row["value"] for row in found["moody"][0]] == [6, 4, 6, 1, 6]


def test_another_name_in_the_spec_is_the_same_scorer(tmp_path):
    run(tmp_path, "one", 0, ANSWERS, [MOODY])
    asked.clear()
    found = run(tmp_path, "one", 1, ANSWERS, [MOODY | {"name": "other"}])
    assert not asked and {row["scorer"] for row in found["other"][0]} == {"other"}


@pytest.mark.parametrize("said", ["timeout", "error"])
def test_a_failure_is_asked_again_and_a_wrong_or_unreadable_answer_is_not(tmp_path, said):
    verdict_of.update({"2": said, "five": "unparseable"})
    first = run(tmp_path, "one", 0, ANSWERS, [MOODY])["moody"][0]
    assert [row["verdict"] for row in first] == [said, "unparseable", said, said, said]
    asked.clear()
    verdict_of.clear()
    second, detail = run(tmp_path, "one", 1, ANSWERS, [MOODY])["moody"]
    assert asked == {("moody", "2", "2"): 1, ("moody", "2", "3"): 1}
    assert [row["verdict"] for row in second] == ["right", "unparseable", "right", "wrong", "right"]
    assert detail == {"scored_once": 3, "cached": 1}


def test_only_what_the_scorer_sees_counts(tmp_path):
    """`hinted` sees one key of meta: other keys, their order and the reference make no new question."""
    found = run(tmp_path, "one", 0, ANSWERS, [{"verifier": "hinted"}])["hinted"]
    assert asked == {("hinted", "2", "2"): 1, ("hinted", "five", "2"): 1, ("hinted", "2", None): 1}
    assert [row["value"] for row in found[0]] == [1, 0, 1, 0, 1]
    asked.clear()
    others = prompts_table([("p1", "8", '{"hint": "2", "n": 9}'), ("p2", "9", '{"hint": "f"}'), ("p3", None, "{}")])
    run(tmp_path, "two", 0, ANSWERS, [{"verifier": "hinted"}], others)
    assert asked == {("hinted", "2", "f"): 1}


def test_a_measure_of_one_answer_is_cached_with_all_its_columns(tmp_path):
    entry = [{"measure": "two_numbers", "name": "two"}, {"verifier": "hinted"}]
    spec = spec_of(score=entry, combine="two + two_squared + hinted")
    details = []
    for round_ in (0, 1):
        answers = ANSWERS if not round_ else [*ANSWERS, ("p2", "seven")]
        ctx = Shared(spec, tmp_path / str(round_), round_)
        ctx.tables = {TRAIN: PROMPTS, ROLLOUT: generations(answers, f"r{round_}-")}
        out = next(s for s in steps(spec) if isinstance(s, Measured)).run(ctx)
        for (table, part), rows in out.rows.items():
            ctx.lake.replace(table, rows, experiment="one", round=round_, part=part)
        details.append(out.detail)
    rows = {part: table.to_pylist() for (_, part), table in out.rows.items()}
    assert [row["value"] for row in rows["rollout/two"]] == [1, 4, 1, 1, 1, 5]
    assert [row["value"] for row in rows["rollout/two_squared"]] == [1, 16, 1, 1, 1, 25]
    assert details == [{"cached": 0}, {"cached": 4}]
    assert asked["two_numbers", "seven", None] == 1 and asked["two_numbers", "five", None] == 1
    assert [row["prompt_tokens"] for row in rows["rollout/two"]] == [None] * 5 + [7], "what is taken over costs nothing"


def test_verdicts_of_waves_are_not_computed_twice(tmp_path):
    """`generate.until` judges while answers are made and keeps the verdicts; the score steps take them from there."""
    spec = spec_of(experiment="one", score=[MOODY, {"verifier": "hinted"}], combine="moody + hinted")
    ctx = Shared(spec, tmp_path / "waves")
    answers = generations(ANSWERS, "one0-")
    waves = Waves(ctx, PROMPTS, "generations")
    in_waves = waves(answers.slice(0, 2), tmp_path / "w0") + waves(answers.slice(2), tmp_path / "w1")
    waves.close()
    assert set(asked.values()) == {1}
    parts = waves.rows()
    assert set(parts) == {("scores", "until/moody"), ("scores", "until/hinted")}
    for (table, part), rows in parts.items():
        assert rows.num_rows == len(ANSWERS)
        ctx.lake.replace(table, rows, experiment="one", round=0, part=part)
    asked.clear()
    found = run(tmp_path, "one", 0, ANSWERS, [MOODY, {"verifier": "hinted"}])
    assert not asked and found["moody"][1] == {"scored_once": 3, "cached": 3} == found["hinted"][1]
    both = [a["value"] + b["value"] for a, b in zip(found["moody"][0], found["hinted"][0], strict=True)]
    assert both == in_waves


def test_one_row_for_each_key_whatever_the_lake_holds(tmp_path):
    for round_, experiment in enumerate(("b", "a", "a")):
        run(tmp_path, experiment, round_, ANSWERS, [MOODY])
    lake = Lake(str(tmp_path / "lake"))
    rows = lake.read("scores", experiment="a", rounds=[1], part="rollout/moody")
    keys = pa.array(["unknown", *sorted(set(rows["cache_key"].to_pylist()))])
    found = cache.scores(lake, rows["scorer_version"][0].as_py(), keys)
    assert found["cache_key"].to_list() == keys.to_pylist()[1:]
    assert cache.scores(lake, "another version", keys).height == 0
    assert cache.scores(Lake(str(tmp_path / "empty")), "v", keys).height == 0
