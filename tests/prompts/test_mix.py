"""Shares of groups in a round: figures of the papers, caps and what is offered again, plans, clusters, fractions."""

import json
import math
from collections import Counter

import pyarrow as pa
import pytest

from engine import prompts as room
from engine.errors import DataError, SpecError, StepError
from engine.prompts.draw import HISTORY
from engine.prompts.mix import fraction_of, shares, temperature
from engine.prompts.steps import Train
from engine.spec import Mix
from engine.step import Ref, Silent
from engine.tables import TABLES
from fakes import FakeContext, spec_of

SIZES = {"a": 20, "b": 10, "c": 4}


def context(folder, mix, sizes=SIZES, seed=3, **more):
    rows = [{"q": f"{topic} {i}", "topic": topic, "kind": {"of": topic}} for topic, size in sizes.items() for i in range(size)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"template": "{q}", "topic": "topic"}
    top = {name: more.pop(name) for name in ("plan", "cluster", "rounds", "stages") if name in more}
    return FakeContext(spec_of(seed=seed, prompts={"train": "train.jsonl", "fields": fields, "mix": mix} | more, **top), folder)


def run(ctx, rounds=1):
    """(counts by topic, ids, detail) of each round, with the earlier ones as history."""
    found, history = [], []
    for round_ in range(rounds):
        ctx.round = round_
        if history:
            ctx.tables[HISTORY] = pa.concat_tables(history)
        output = Train().run(ctx)
        rows = output.rows["prompts", "train"]
        history.append(rows)
        found.append((dict(sorted(Counter(rows["topic"].to_pylist()).items())), rows["prompt_id"].to_pylist(), output.detail["mix"]))
    return found


def plan_rows(*rows):
    table = [{"key": "weight", "item_id": item, "value": json.dumps(value), "reason": None} for item, value in rows]
    return pa.Table.from_pylist(table, schema=TABLES["plan"].columns)


def test_shares_of_the_paper():
    sizes = [1000, 100, 10]
    rounded = {tau: [round(share, 4) for share in shares(sizes, tau)] for tau in (1, 2, 5)}
    assert rounded == {1: [0.9009, 0.0901, 0.0090], 2: [0.7061, 0.2233, 0.0706], 5: [0.4928, 0.3110, 0.1962]}
    assert shares(sizes, 1e9) == pytest.approx([1 / 3] * 3, abs=1e-8)
    scalarised = [hot / plain for hot, plain in zip(shares(sizes, 5), shares(sizes, 1), strict=True)]  # loss weights of the same mix
    assert [round(weight, 4) for weight in scalarised] == [0.5471, 3.4517, 21.7785]
    assert math.fsum(p * w for p, w in zip(shares(sizes, 1), scalarised, strict=True)) == pytest.approx(1, abs=1e-12)
    assert shares([4, 0], 2) == [1.0, 0.0]


def test_cooldown_goes_in_equal_steps():
    mix = Mix(by="topic", temperature=5, cooldown=1)
    assert [temperature(mix, round_, 5) for round_ in range(6)] == [5, 4, 3, 2, 1, 1]
    assert temperature(mix, 0, 1) == 5
    assert [temperature(Mix(by="topic", temperature=5), round_, 3) for round_ in range(3)] == [5, 5, 5]


def test_fixed_weights_and_their_log(tmp_path):
    counts, ids, detail = run(context(tmp_path, {"by": "topic", "weights": {"a": 1, "b": 3}}, per_round=8))[0]
    assert counts == {"a": 2, "b": 6} and len(set(ids)) == 8
    assert detail["by"] == "topic" and detail["shares"] == "weights"
    assert detail["groups"]["b"] == {"size": 10, "share": 0.75, "count": 6, "epochs": 0.6}
    assert detail["groups"]["c"] == {"size": 4, "share": 0.0, "count": 0, "epochs": 0.0}


def test_what_a_group_has_not_goes_to_the_others(tmp_path):
    first, second, third = run(context(tmp_path, {"by": "topic", "weights": {"a": 1, "b": 1, "c": 2}}, per_round=8), 3)
    assert first[0] == {"a": 2, "b": 2, "c": 4}
    assert second[0] == third[0] == {"a": 4, "b": 4}
    assert len({*first[1], *second[1], *third[1]}) == 24


def test_groups_that_are_used_up(tmp_path):
    mix = {"by": "topic", "weights": {"c": 1}}
    with pytest.raises(DataError, match="round 1 needs 3 prompts, 1 are left of 34 in the pool in groups with a share above 0"):
        run(context(tmp_path, mix, per_round=3), 2)
    rounds = run(context(tmp_path, mix, per_round=3, epochs=3), 4)
    assert Counter(prompt for one in rounds for prompt in one[1]).most_common(4)[-1][1] == 3
    assert rounds[3][2]["groups"]["c"]["epochs"] == 3.0
    assert len(set(rounds[0][1] + rounds[1][1])) == 4  # the least used come first


def test_many_passes_are_said(tmp_path):
    class Notes(Silent):
        def __init__(self):
            self.lines = []

        def note(self, text):
            self.lines.append(text)

    ctx = context(tmp_path, {"by": "topic", "weights": {"c": 1}}, per_round=4, epochs=20)
    ctx.progress = Notes()
    run(ctx, 10)
    assert not ctx.progress.lines
    ctx.tables.clear()
    run(ctx, 11)
    assert ctx.progress.lines == ["  prompts.mix: group 'c' of 4 prompts is in its pass 11"]


def test_temperature_of_the_round(tmp_path):
    ctx = context(tmp_path, {"by": "topic", "temperature": 1e6, "cooldown": 1}, {"a": 60, "b": 30, "c": 12}, per_round=17, rounds=2)
    (first, _, one), (second, _, two) = run(ctx, 2)
    assert first == {"a": 6, "b": 6, "c": 5} and one["shares"] == "temperature 1e+06"
    assert second == {"a": 10, "b": 5, "c": 2} and two["shares"] == "temperature 1"


def test_a_plan_gives_the_shares(tmp_path):
    mix, plan = {"by": "topic", "plan": "skills"}, [{"name": "skills", "sql": "plan/x.sql"}]
    ctx = context(tmp_path, mix, plan=plan, per_round=6)
    assert Ref("plan", "skills") in Train().reads(ctx.spec, 0)
    counts, _, detail = run(ctx)[0]
    assert counts == {"a": 2, "b": 2, "c": 2} and detail["shares"] == "uniform: plan skills is empty"
    ctx.tables[Ref("plan", "skills")] = plan_rows(("a", 2), ("c", 1), ("gone", 5))
    counts, _, detail = run(ctx)[0]
    assert counts == {"a": 4, "c": 2} and detail["shares"] == "plan skills"
    for rows in (plan_rows(("a", -1)), plan_rows((None, 1)), plan_rows(("a", "much"))):
        ctx.tables[Ref("plan", "skills")] = rows
        with pytest.raises(StepError, match="expected weights of 0 or more"):
            run(ctx)
    ctx.tables[Ref("plan", "skills")] = plan_rows(("gone", 1))
    with pytest.raises(DataError, match="0 are left"):
        run(ctx)


def test_clusters_of_the_pool(tmp_path):
    cluster = [{"name": "pool", "of": "pool", "k": 2}, {"name": "round", "k": 2}]
    ctx = context(tmp_path, {"by": "cluster", "weights": {"0": 1, "1": 2}}, cluster=cluster, per_round=6)
    assert Ref("clusters", "pool") in Train().reads(ctx.spec, 0)
    rows = room.pool(ctx)
    made = [{"item_id": row["prompt_id"], "cluster_id": int(row["topic"] != "a"), "distance": 0.0} for row in rows]
    ctx.tables[Ref("clusters", "pool")] = pa.Table.from_pylist(made, schema=TABLES["clusters"].columns)
    counts = run(ctx)[0][0]
    assert counts["a"] == 2 and sum(counts.values()) == 6
    ctx.tables[Ref("clusters", "pool")] = ctx.tables[Ref("clusters", "pool")].slice(1)
    with pytest.raises(StepError, match="1 prompts of the pool have no cluster in pool"):
        run(ctx)
    for entries in ([], [{"name": "x", "of": "pool"}], [{"name": "x", "of": "pool", "k": 2}, {"name": "y", "of": "pool", "k": 3}]):
        bad = context(tmp_path, {"by": "cluster", "weights": {"0": 1}}, cluster=entries, per_round=6)
        with pytest.raises(SpecError, match="needs one entry of `cluster`"):
            room.check(bad.spec, bad.spec_path)


def test_stages_of_dmt(tmp_path):
    sizes = {"spec": 2560, "general": 1000}

    def size_of(share):
        ctx = context(tmp_path, {"by": "topic", "fraction": {"spec": share}}, sizes)
        return Train().run(ctx).rows["prompts", "train"].num_rows

    assert (size_of(1 / 256), size_of(0.0), size_of(1.0), size_of(1e-9)) == (1010, 1000, 3560, 1001)
    first = context(tmp_path, {"by": "topic", "fraction": {"general": 0}}, sizes)
    assert run(first)[0][0] == {"spec": 2560}
    # the decimal number counts, not the double beside it
    assert [fraction_of(0.1, 10), fraction_of(0.7, 10), fraction_of(1 / 3, 3), fraction_of(0.29, 100)] == [1, 7, 1, 29]
    small = context(tmp_path, {"by": "topic", "fraction": {"a": 0.25}})
    (one, first_ids, detail), (_, second_ids, _) = run(small, 2)
    assert one == {"a": 5, "b": 10, "c": 4} and first_ids == second_ids and detail["groups"]["a"] == {"size": 20, "count": 5}
    drawn = context(tmp_path, {"by": "topic", "fraction": {"a": 0.25}, "weights": {"a": 1, "b": 1}}, per_round=12)
    counts, ids, _ = run(drawn)[0]
    assert counts == {"a": 5, "b": 7} and set(ids) <= set(first_ids)


def test_columns_of_the_files_are_groups_too(tmp_path):
    counts = run(context(tmp_path, {"by": "kind", "weights": {'{"of": "b"}': 1}}, per_round=4))[0][0]
    assert counts == {"b": 4}
    counts = run(context(tmp_path, {"by": "file", "weights": {"train.jsonl": 1}}, per_round=34))[0][0]
    assert counts == SIZES


@pytest.mark.parametrize(
    ("mix", "more", "message"),
    [
        ({"by": "topic", "weights": {"d": 1}}, {"per_round": 4}, r"prompts.mix.weights.d: no prompt is in this group"),
        ({"by": "topc", "weights": {"a": 1}}, {"per_round": 4}, r"prompts.mix.by: the files have no column 'topc'"),
        ({"by": "topic", "fraction": {"d": 1}}, {}, r"prompts.mix.fraction.d"),
    ],
)
def test_what_the_files_show_to_be_wrong(tmp_path, mix, more, message):
    ctx = context(tmp_path, mix, **more)
    with pytest.raises(SpecError, match=message):
        room.check(ctx.spec, ctx.spec_path)


@pytest.mark.parametrize(
    ("mix", "more", "message"),
    [
        ({"by": "topic", "weights": {"a": 1}}, {}, "need prompts.per_round"),
        ({"by": "topic", "weights": {"a": 1}, "temperature": 2}, {"per_round": 4}, "found weights and temperature"),
        ({"by": "topic"}, {"per_round": 4}, "found none"),
        ({"by": "topic", "weights": {"a": 0}}, {"per_round": 4}, "one of them above 0"),
        ({"by": "topic", "weights": {"a": 1}, "cooldown": 1}, {"per_round": 4}, "cooldown: needs"),
        ({"by": "topic", "fraction": {"a": 1.5}}, {}, "expected a share from 0 to 1"),
        ({"by": "topic", "plan": "none"}, {"per_round": 4}, "no entry of `plan`"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path, mix, more, message):
    with pytest.raises(ValueError, match=message):
        context(tmp_path, mix, **more)


def test_settings_hold_the_rounds_own_temperature(tmp_path):
    def settings(round_, **more):
        ctx = context(tmp_path, {"by": "topic", "temperature": 5, "cooldown": 1}, per_round=4, **more)
        return Train().settings(ctx.spec, round_, ctx.spec_path)

    assert settings(0, rounds=3) == settings(0, rounds=9) != settings(1, rounds=3)
    plain = spec_of(prompts={"train": "train.jsonl", "fields": {"template": "{q}"}, "per_round": 4})
    assert set(Train().settings(plain, 0, tmp_path / "spec.yaml")) == {"fields", "files", "held_out_of_train", "per_round", "seed"}
