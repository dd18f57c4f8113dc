"""Hygiene in a running experiment: what went stands in a table, an unchanged pool is checked once, a grown one anew."""

import json

import pytest

import loop_home
from engine import prompts as room
from engine.errors import DataError, StepError
from engine.prompts.steps import Hygiene, Train, steps
from engine.step import BASE, Ref
from engine.tables import TABLES
from fakes import FakeContext, spec_of

DROPPED = Ref("prompts_dropped", "train")
HYGIENE = """\
  hygiene:
    max_words: 6
    near: {}
    decontaminate: {against: {sums: data/sums.jsonl}, ngram: 2}
"""


def grow(folder, *questions):
    """Rows more in the train file."""
    with (folder / "experiments" / "data" / "train.jsonl").open("a") as file:
        file.writelines(json.dumps({"question": question, "answer": "1", "topic": "odd"}) + "\n" for question in questions)


WHY = """
select round, rule, suite, twin.source as twin, round(value, 3) as value, parse_path(dropped.source)[-1] as source
from lake.prompts_dropped as dropped
left join (select distinct prompt_id, parse_path(source)[-1] as source from lake.prompts where part = 'train') as twin
  on twin.prompt_id = dropped.twin_id
order by round, dropped.source
"""


def test_two_rounds_and_a_file_that_grows(tmp_path):
    loop_home.write(tmp_path, loop_home.YAML.replace("  per_round: 24\n", "  per_round: 30\n" + HYGIENE))
    (tmp_path / "experiments" / "data" / "sums.jsonl").write_text('{"question": "what is 41 + 1"}\n{"question": "7+1="}\n')
    grow(tmp_path, "5 + 1 =", "one two three four five six seven", "say: What is 41 + 1?")
    experiment = loop_home.load(tmp_path)
    done = experiment.run(until=1)
    assert [(one.round, one.state) for one in done if one.step == "hygiene"] == [(0, "done"), (1, "reused")]
    first = [
        ("near", None, 1.0, "train.jsonl:91"),
        ("length", None, 7.0, "train.jsonl:92"),
        ("decontaminate", "sums", 1.0, "train.jsonl:93"),
        ("decontaminate", "sums", 1.0, "train.jsonl:8"),
    ]
    rows = experiment.sql(WHY).pl().rows(named=True)
    found = [(row["round"], row["rule"], row["suite"], row["value"], row["source"]) for row in rows]
    assert sorted(found, key=str) == sorted([(round_, *row) for round_ in (0, 1) for row in first], key=str)
    entry = next(one.entry for one in done if one.step == "hygiene")
    assert entry.rows_in == 93 and entry.rows_out == 4 and entry.detail["kept"] == 89
    assert entry.detail["dropped"] == {"length": 1, "decontaminate": 2, "near": 1}
    assert entry.detail["decontaminate"]["sums"] == {"items": 2, "matched": 2, "share": 1.0, "over_limit": True}
    drawn = next(one.entry for one in done if one.step == "prompts")
    assert drawn.rows_in == 89 and drawn.detail["dropped"] == {"decontaminate": 2, "length": 1, "near": 1}
    gone = set(experiment.sql("select prompt_id from lake.prompts_dropped").pl()["prompt_id"])
    assert not gone & set(experiment.sql("select prompt_id from lake.prompts").pl()["prompt_id"])

    grow(tmp_path, "6 + 1 =", "a new one")
    last = loop_home.load(tmp_path).run()
    assert [(one.round, one.state) for one in last if one.step == "hygiene"] == [(2, "done")]
    rows = loop_home.load(tmp_path).sql("select source from lake.prompts_dropped where round = 2 and rule = 'near'").pl()["source"]
    assert sorted(source.rpartition(":")[2] for source in rows) == ["91", "94"]


def context(folder, count=10, **prompts):
    (folder / "train.jsonl").write_text("".join(json.dumps({"q": f"Tell me of number {i}"}) + "\n" for i in range(count)))
    return FakeContext(spec_of(prompts={"train": "train.jsonl", "fields": {"template": "{q}"}} | prompts), folder)


def test_rounds_draw_from_what_is_left(tmp_path):
    ctx = context(tmp_path, hygiene={"cap": 4, "cap_by": "file"}, per_round=3)
    made = Hygiene(ctx.spec).run(ctx)
    dropped = made.rows["prompts_dropped", "train"]
    assert (made.rows_in, dropped.num_rows, made.detail["kept"]) == (10, 6, 4)
    ctx.tables[DROPPED] = dropped
    pool = room.pool(ctx)
    assert len(pool) == 4 and not {row["prompt_id"] for row in pool} & set(dropped["prompt_id"].to_pylist())
    drawn = Train().run(ctx)
    assert set(drawn.rows["prompts", "train"]["prompt_id"].to_pylist()) < {row["prompt_id"] for row in pool}
    assert drawn.detail == {"pool": 4, "duplicates": 0, "dropped": {"cap": 6}}
    with pytest.raises(DataError, match="needs 3 prompts, 1 are left of 4 in the pool"):
        ctx.round, ctx.tables[Ref("prompts", "train", "history")] = 1, drawn.rows["prompts", "train"]
        Train().run(ctx)


def test_a_file_that_changed_within_a_round_is_noticed(tmp_path):
    ctx = context(tmp_path, hygiene={"cap": 4, "cap_by": "file"})
    ctx.tables[DROPPED] = Hygiene(ctx.spec).run(ctx).rows["prompts_dropped", "train"]
    context(tmp_path, 2)
    with pytest.raises(StepError, match="does not add up"):
        room.pool(ctx)


def test_the_rows_of_a_clean_pool_fit_their_table(tmp_path):
    ctx = context(tmp_path, hygiene={"near": {}})
    found = Hygiene(ctx.spec).run(ctx).rows["prompts_dropped", "train"]
    assert found.num_rows == 0 and found.schema.equals(TABLES["prompts_dropped"].columns)


def test_held_out_prompts_are_no_part_of_the_pool(tmp_path):
    ctx = context(tmp_path, 20, gate={"rows": 5, "of": "train"}, hygiene={"decontaminate": {}, "near": {}})
    ctx.tables[Ref("prompts", "gate", "base")] = steps(ctx.spec)[0].run(ctx).rows["prompts", "gate"]
    made = Hygiene(ctx.spec).run(ctx)
    assert made.rows_in == 15 and made.detail["decontaminate"]["gate"]["items"] == 5


def test_the_step_is_there_only_where_it_is_asked_for(tmp_path):
    plain, cleaned = context(tmp_path).spec, context(tmp_path, hygiene={"near": {}}).spec
    assert [step.name for step in steps(plain)] == ["heldout", "prompts"]
    assert [step.name for step in steps(cleaned)] == ["heldout", "hygiene", "prompts"]
    assert DROPPED in Train().reads(cleaned, 0) and DROPPED not in Train().reads(plain, 0)
    assert DROPPED in room.pool_reads(cleaned) and DROPPED not in room.pool_reads(plain)
    step, path = Hygiene(cleaned), tmp_path / "spec.yaml"
    assert step.settings(cleaned, 0, path) == step.settings(cleaned, 5, path) and not step.active(cleaned, BASE)


@pytest.mark.slow
def test_rounds_mixed_of_clusters_of_the_clean_pool(tmp_path):
    mix = "  hygiene: {cap: 60, cap_by: file}\n  mix: {by: cluster, temperature: 1.0e+9}\n"
    text = loop_home.YAML.replace("  per_round: 24\n", "  per_round: 12\n" + mix)
    loop_home.write(tmp_path, text + "cluster: [{name: pool, of: pool, k: 2}]\n")
    experiment = loop_home.load(tmp_path)
    done = experiment.run(until=1)
    states = {(one.round, one.step): one.state for one in done}
    assert [states[1, name] for name in ("hygiene", "clusters_pool", "prompts")] == ["reused", "reused", "done"]
    query = """
    select p.round, c.cluster_id, count(1) as n
    from lake.prompts as p join lake.clusters as c on c.item_id = p.prompt_id and c.round = p.round and c.part = 'pool'
    where p.part = 'train' group by all order by all
    """
    assert experiment.sql(query).fetchall() == [(round_, cluster, 6) for round_ in (0, 1) for cluster in (0, 1)]
    clustered = experiment.sql("select count(1), count(distinct item_id) from lake.clusters where round = 0 and part = 'pool'").fetchall()
    assert clustered == [(60, 60)]
