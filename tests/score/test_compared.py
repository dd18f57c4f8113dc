"""Pairs of answers: both orders, ties on disagreement, equal texts, the cache, pairs by SQL; and all kinds of scorers in one loop."""

import json
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import loop_home
from engine.check import check
from engine.errors import QueryError, SpecError, StepError
from engine.score.compared import Compared
from engine.score.comparers import Comparer, comparers
from engine.step import Ref
from fakes import FakeContext, generations, prompts_table, spec_of

asked: Counter[tuple[str, str]] = Counter()


@comparers.register("biased")
class Biased(Comparer):
    """Prefers the longer answer, and between equally long ones the one that it sees first."""

    def compare(self, ctx, questions):
        rows = questions.to_pylist()
        asked.update((row["first"], row["second"]) for row in rows)
        if any(row["first"] == "?" for row in rows):
            return pa.Table.from_pylist([self._row(row) for row in rows[1:]])
        return pa.Table.from_pylist([self._row(row) for row in reversed(rows)])

    def _row(self, row):
        if "!" in row["first"]:
            return {"key": row["key"], "probability": None, "votes": 0, "verdict": "unparseable", "prompt_tokens": 5}
        probability = 0.9 if len(row["first"]) >= len(row["second"]) else 0.2
        return {"key": row["key"], "probability": probability, "votes": 1, "verdict": None, "prompt_tokens": 5}


@pytest.fixture(autouse=True)
def _only_here():
    yield
    asked.clear()


def context(folder, answers, **compare):
    spec = spec_of(compare=[{"method": "biased"} | compare])
    tables = {Ref("generations", "rollout"): generations(answers), Ref("prompts", "train"): prompts_table({"p": "1", "q": "2"})}
    return FakeContext(spec, folder, tables=tables)


def compared(ctx):
    entry = ctx.spec.compare[0]
    out = Compared(entry, ctx.spec_path).run(ctx)
    return out, {(r["left_id"], r["right_id"], r["order"]): r for r in out.rows["preferences", f"rollout/{entry.column}"].to_pylist()}


def test_both_orders_are_asked_and_a_flip_is_a_tie(tmp_path):
    out, rows = compared(context(tmp_path, [("p", "aa"), ("p", "b"), ("p", "cc"), ("q", "z")]))
    assert (out.rows_in, out.detail) == (3, {"pairs": 3, "asked": 6, "cached": 0})
    assert len(rows) == 9 and set(asked.values()) == {1}
    assert rows["g0", "g1", "forward"]["probability"] == 0.9 and rows["g0", "g1", "swapped"]["probability"] == pytest.approx(0.8)
    assert rows["g0", "g1", "both"]["probability"] == pytest.approx(0.85) and rows["g0", "g1", "both"]["votes"] == 2
    assert rows["g0", "g2", "forward"]["probability"] == 0.9 and rows["g0", "g2", "swapped"]["probability"] == pytest.approx(0.1)
    assert rows["g0", "g2", "both"]["probability"] == 0.5, "the first place won twice"
    assert json.loads(rows["g0", "g2", "both"]["detail"]) == {"forward": 0.9, "swapped": pytest.approx(0.1)}
    assert [r["prompt_tokens"] for r in rows.values()].count(5) == 6, "what was asked is paid for once"


def test_one_order_only(tmp_path):
    _, rows = compared(context(tmp_path, [("p", "aa"), ("p", "b")], orders="forward"))
    assert list(rows) == [("g0", "g1", "forward")]


def test_equal_texts_are_a_tie_that_nobody_is_asked_for_and_equal_questions_are_asked_once(tmp_path):
    out, rows = compared(context(tmp_path, [("p", "aa"), ("p", "aa"), ("p", "b")]))
    assert rows["g0", "g1", "both"]["probability"] == 0.5 and rows["g0", "g1", "forward"]["detail"] == "the same text"
    assert asked == {("aa", "b"): 1, ("b", "aa"): 1} and out.detail["pairs"] == 3
    assert sum(row["prompt_tokens"] or 0 for row in rows.values()) == 10


def test_what_cannot_be_read_is_no_zero(tmp_path):
    _, rows = compared(context(tmp_path, [("p", "aa!"), ("p", "b")]))
    assert rows["g0", "g1", "forward"]["probability"] is None and rows["g0", "g1", "swapped"]["probability"] is not None
    assert rows["g0", "g1", "both"]["probability"] is None and rows["g0", "g1", "both"]["verdict"] == "unparseable"


def test_a_lost_answer_stops_the_step(tmp_path):
    with pytest.raises(StepError, match="2 questions, 1 answers, 1 questions without one"):
        compared(context(tmp_path, [("p", "?"), ("p", "b")]))


def test_no_pairs(tmp_path):
    with pytest.raises(StepError, match="no pairs to compare"):
        compared(context(tmp_path, [("p", "a"), ("q", "b")]))


def test_a_comparison_of_an_earlier_step_is_taken_over_whatever_side_it_stood_on(tmp_path):
    ctx = context(tmp_path, [("p", "aa"), ("p", "b")], orders="forward")
    out, rows = compared(ctx)
    ctx.lake.replace("preferences", out.rows["preferences", "rollout/biased"], experiment="other", round=3, part="rollout/x")
    asked.clear()
    turned = context(tmp_path, [("p", "b"), ("p", "aa")])
    out, again = compared(turned)
    assert out.detail == {"pairs": 1, "asked": 1, "cached": 1} and asked == {("b", "aa"): 1}
    assert again["g0", "g1", "swapped"]["probability"] == pytest.approx(1 - rows["g0", "g1", "forward"]["probability"])
    assert again["g0", "g1", "swapped"]["seconds"] == 0


def test_a_comparison_that_was_asked_with_the_sides_swapped_is_taken_over_too(tmp_path):
    out, rows = compared(context(tmp_path / "old", [("p", "b"), ("p", "aa")]))
    table = out.rows["preferences", "rollout/biased"]
    swapped = table.filter(pc.equal(table["order"], "swapped"))  # aa against b, where b stood on the left
    ctx = context(tmp_path / "new", [("p", "aa"), ("p", "b")], orders="forward")
    ctx.lake.replace("preferences", swapped, experiment="other", round=0, part="rollout/x")
    asked.clear()
    _, found = compared(ctx)
    assert not asked and rows["g0", "g1", "swapped"]["probability"] == pytest.approx(0.1)
    assert found["g0", "g1", "forward"]["probability"] == pytest.approx(0.9)


SPEC = {
    "score": "score: [{verifier: math}, {measure: logprob, name: lp, params: {model: base}}]",
    "combine": "combine: math + 0.001 * lp_mean",
    "more": """
measure: [{sql: share.sql, params: {weight: 2}}, {sql: twice.sql}]
compare: [{method: biased}, {method: biased, name: chosen, sql: pairs.sql}]
""",
}
FILES = {
    "share": "-- Share of the comparisons that an answer has won.\n--   $weight = 1  factor\nselect generation_id as item_id, "
    "$weight * (select fsum(case when left_id = generation_id then probability else 1 - probability end) / count(*) from preferences "
    """where judge = 'biased' and "order" = 'both' and generation_id in (left_id, right_id)) as value from generations""",
    "twice": "-- Twice the measure before it.\n"
    "select generation_id as item_id, 2 * share as value, 'of ' || prompt_id as detail from scored",
    "pairs": "-- The two best by score.\nselect a.generation_id as left_id, b.generation_id as right_id from scored a join scored b "
    "on a.prompt_id = b.prompt_id and a.score > b.score",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scorers")
    text = loop_home.YAML.replace("score: [{verifier: math}, {verifier: regex, name: format, params: {pattern: 'Answer'}}]", SPEC["score"])
    text = text.replace("combine: math + format", SPEC["combine"]) + SPEC["more"]
    loop_home.write(folder, text.replace("rounds: 3", "rounds: 2"))
    for name, query in FILES.items():
        (folder / "experiments" / f"{name}.sql").write_text(query)
    loop_home.load(folder).run()
    return folder


def test_every_kind_of_scorer_in_one_loop(home):
    loop = loop_home.load(home)
    scores = loop.sql("select part, round, count(*) n from lake.scores group by all order by all").pl()
    parts = {(row["part"], row["round"]): row["n"] for row in scores.to_dicts()}
    assert parts["rollout/lp_mean", 0] == parts["rollout/twice", 1] == parts["rollout/math", 0] == 96
    assert parts["eval/lp", -1] == parts["eval/score", 1] == 20, "a measure in `score` numbers held-out answers too"
    rows = loop.sql("select max(abs(score - math - 0.001 * lp_mean)) as off, max(abs(twice - 2 * share)) as twice from lake.scored").pl()
    assert rows["off"][0] < 1e-12 and rows["twice"][0] == 0
    shares = loop.sql("select avg(share) m from lake.scored where round = 1").pl()
    assert shares["m"][0] == pytest.approx(1.0), "wins and losses are even, and the weight is 2"
    judged = loop.sql('select part, "order", count(*) n from lake.preferences where round = 0 group by all order by all').pl()
    assert {(r["part"], r["order"]): r["n"] for r in judged.to_dicts()}["rollout/biased", "both"] == 24 * 6


def test_another_experiment_pays_for_nothing_twice(home):
    spec = (home / "experiments" / "loop.yaml").read_text().replace("experiment: loop", "experiment: again")
    (home / "experiments" / "again.yaml").write_text(
        spec.replace("0.001", "0.002").replace("params: {per_prompt: 1}", "params: {per_prompt: 2}")
    )
    asked.clear()
    loop_home.load(home, name="again").run()
    told = loop_home.load(home).sql("select round, step, state, detail from lake.steps where experiment = 'again'").pl().to_dicts()
    steps = {(row["round"], row["step"]): row | {"detail": json.loads(row["detail"])} for row in told}
    assert steps[0, "scores_lp"]["state"] == "reused" and steps[1, "scores_lp"]["state"] == "done"
    assert 0 < steps[1, "scores_lp"]["detail"]["cached"] < 96, "round 1 gives some answers that the other experiment gave too"
    assert steps[1, "compare_chosen"]["detail"]["asked"] == 0, "its pairs are among all pairs"
    spent = "select sum(prompt_tokens) as tokens, sum(seconds) as seconds from lake.preferences where experiment = 'again' and round = 0"
    assert loop_home.load(home).sql(spent).fetchall() == [(None, 0.0)], "a step that was copied has spent nothing"
    assert set(asked.values()) <= {1, 2}, asked.most_common(3)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"score": [{"verifier": "math", "measure": "logprob"}]}, ValueError, "either `verifier` or `measure`"),
        ({"measure": [{"method": "logprob", "sql": "x.sql"}]}, ValueError, "either `method` or `sql`"),
        ({"compare": [{"method": "biased"}, {"method": "biased"}]}, ValueError, "stands twice"),
    ],
)
def test_entries_that_contradict_themselves(change, error, words):
    with pytest.raises(error, match=words):
        spec_of(**change)


def test_a_measure_of_the_whole_round_cannot_be_a_score(home):
    loop_home.write(home, loop_home.YAML.replace("{verifier: math}", "{measure: confidence}"), name="bad")
    with pytest.raises(SpecError, match=r"score \(confidence\): confidence looks at more than one answer"):
        bad = loop_home.load(home, name="bad")
        check(bad.spec, bad.path)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select generation_id as item, 1 as value from generations", "item_id and value, found"),
        ("select generation_id as item_id, 'x' as value from generations", "expected a number, found string"),
        ("select generation_id as item_id, twice as value from scored", "twice"),
    ],
)
def test_sql_of_a_measure_that_cannot_work_is_found_before_the_run(home, query, words):
    name = f"bad{abs(hash(query)) % 1000}"
    text = (
        (home / "experiments" / "loop.yaml")
        .read_text()
        .replace("experiment: loop", f"experiment: {name}")
        .replace("share.sql", f"{name}.sql")
    )
    (home / "experiments" / f"{name}.yaml").write_text(text)
    (home / "experiments" / f"{name}.sql").write_text(f"-- Wrong.\n--   $weight = 1  factor\n{query} where $weight > 0")
    with pytest.raises((QueryError, SpecError), match=words):
        bad = loop_home.load(home, name=name)
        check(bad.spec, bad.path)
