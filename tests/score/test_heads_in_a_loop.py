"""Models with heads in an experiment: rewards in the combined score, segments, disagreement, and judged pairs; all of it once."""

from __future__ import annotations

import json
import math
import shutil

import pytest

import heads_tiny
import loop_home
from engine.check import check
from engine.errors import QueryError
from score.measures.read_answers import ReadContext, measure, rollouts, values

MODELS = """
score:
  - {verifier: math}
  - {measure: reward_model, name: rm, params: {model: rm, scale: [0.5], sigmoid: true}}
  - {measure: log_ratio, name: ratio, params: {num: previous}}
combine: rm + (math - 1) - 0.01 * ratio
measure:
  - {method: reward_model, name: both, params: {model: two, heads: [help, words]}}
  - {method: segment_reward, name: parts, params: {model: rm, unit: line}}
  - {method: uncertainty, name: doubt, params: {models: [rm], passes: 3, sites: linear, dropout: 0.1}}
  - {sql: lines.sql}
compare:
  - {method: preference_model, name: estimator, params: {model: two, passes: 3, sites: head, dropout: 0.1}}
  - {method: ches, name: displacement, orders: forward}
"""
LINES = """-- Segments of each answer that have a number.
select g.generation_id as item_id, count(s.item_id) as value
from generations g left join segment.scores s on s.item_id = g.generation_id group by all order by all
"""


def text():
    body = loop_home.YAML.replace("samples: 4", "samples: 3").replace("per_round: 24", "per_round: 8").replace("rounds: 3", "rounds: 2")
    kept = [line for line in body.splitlines() if not line.startswith(("score:", "combine:"))]
    return "\n".join(kept) + MODELS


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    path = loop_home.write(folder, text())
    heads_tiny.save(path.parent / "rm")
    heads_tiny.save(path.parent / "two", labels=2, seed=1, max_position_embeddings=400)
    (path.parent / "lines.sql").write_text(LINES)
    loop_home.load(folder).run()
    return folder


def test_a_reward_is_the_models_and_part_of_the_combined_score(home):
    rows = loop_home.load(home).sql("select s.*, p.messages as asked from scored s join prompts p using (prompt_id)").pl().to_dicts()
    folder = home / "experiments"
    assert len(rows) == 24
    for row in rows[:6]:
        shown = row["asked"][0]["content"] + row["response"]
        raw = heads_tiny.plain(folder / "rm", shown)[0]
        assert row["rm"] == pytest.approx(1 / (1 + math.exp(-raw / 2)), abs=0.0003)
        assert row["score"] == pytest.approx(row["rm"] + row["math"] - 1 - 0.01 * row["ratio"], abs=1e-9)
        a, b = heads_tiny.plain(folder / "two", shown)
        assert [row["both_help"], row["both_words"], row["both"]] == pytest.approx([a, b, (a + b) / 2], abs=0.0011)
        assert row["doubt"] > 0
    held = loop_home.load(home).sql("select count(*) n, count(value) v from lake.scores where part = 'eval/rm'").pl().to_dicts()[0]
    assert held["n"] == held["v"] == 60, "held-out answers of the base and of both rounds"


def test_segments_are_rows_of_their_own(home):
    loop = loop_home.load(home)
    found = loop.sql("select * from segment.scores order by item_id, segment").pl().to_dicts()
    told = loop.sql("select item_id, detail, value from scores where scorer = 'parts'").pl().to_dicts()
    expected = {row["item_id"]: json.loads(row["detail"]) for row in told if row["value"] is not None}
    assert {row["item_kind"] for row in found} == {"segment"} and sum(map(len, expected.values())) == len(found) > 0
    for item, numbers in expected.items():
        own = [row for row in found if row["item_id"] == item]
        assert [row["segment"] for row in own] == list(range(len(numbers))) and [row["value"] for row in own] == numbers
    counted = loop.sql("select generation_id, lines from scored").pl().to_dicts()
    assert {row["generation_id"]: int(row["lines"]) for row in counted if row["lines"]} == {item: len(n) for item, n in expected.items()}


def test_pairs_have_probabilities_and_doubt_or_a_value(home):
    rows = loop_home.load(home).sql("select * from preferences").pl().to_dicts()
    judged = [row for row in rows if row["judge"] == "estimator" and row["votes"]]
    assert {row["order"] for row in judged} == {"forward", "swapped", "both"}
    assert all(0 < row["probability"] < 1 and row["uncertainty"] >= 0 and row["value"] is None for row in judged)
    values = [row for row in rows if row["judge"] == "displacement"]
    assert len(values) == 24 and all(row["probability"] is None and row["value"] is not None for row in values)


def test_another_experiment_takes_every_number_over(home):
    """It samples once more a prompt: only new texts are read, and the numbers of the others are the same bits, segments included."""
    loop_home.write(home, text().replace("samples: 3", "samples: 4"), name="again")
    loop = loop_home.load(home, "rounds=1", name="again")
    loop.run()
    query = """
    select a.part, a.value, b.value as other from lake.scores a
    join lake.scores b on a.part = b.part and a.item_id = b.item_id and a.segment is not distinct from b.segment
    where a.experiment = 'loop' and b.experiment = 'again' and a.round = 0 and b.round = 0
    and a.part in ('rollout/rm', 'rollout/ratio', 'rollout/doubt', 'rollout/both_words', 'rollout/parts', 'segment/parts')
    """
    rows = loop.sql(query).pl()
    assert rows.height > 5 * 24 and (rows["value"].eq_missing(rows["other"])).all()
    steps = loop.sql("select step, rows_in, detail from lake.steps where experiment = 'again' and round = 0").pl().to_dicts()
    told = {row["step"]: json.loads(row["detail"]) | {"rows": row["rows_in"]} for row in steps}
    for name in ("rm", "ratio", "both", "parts", "doubt"):
        assert told[f"scores_{name}"]["rows"] == 32 and 0 < told[f"scores_{name}"]["cached"] <= 24
    assert all(told[f"compare_{name}"]["cached"] > 0 for name in ("estimator", "displacement"))


def test_drawn_numbers_are_the_same_made_alone(home):
    """Nothing of the round, the batch or the prompt's neighbours enters a mask."""
    loop = loop_home.load(home)
    rows = loop.sql("select s.*, p.messages as asked from scored s join prompts p using (prompt_id) order by generation_id limit 4").pl()
    given = {"models": ["rm"], "passes": 3, "sites": "linear", "dropout": 0.1}
    ctx = ReadContext(home / "experiments", {}, spec=loop.spec)
    for row in rows.to_dicts():
        made = measure("uncertainty", **given).measure(ctx, rollouts([(row["asked"][0]["content"], row["response"])]))
        assert values(made) == [row["doubt"]]
        shutil.rmtree(ctx.journal)


def test_sql_that_reads_segments_needs_a_measure_of_them(home):
    bad = text().replace("  - {method: segment_reward, name: parts, params: {model: rm, unit: line}}\n", "")
    loop_home.write(home, bad, name="bad")
    experiment = loop_home.load(home, name="bad")
    with pytest.raises(QueryError, match=r"it reads segment\.scores, and the spec has no `measure with the method segment_reward`"):
        check(experiment.spec, experiment.path)
