"""The steps: held-out rows once, fresh prompts each round, passes, worked examples."""

import json

import pyarrow as pa
import pytest

from engine import tables
from engine.errors import DataError
from engine.prompts.steps import HISTORY, Demonstrations, Heldout, Train, steps
from engine.step import BASE, Ref
from fakes import FakeContext, spec_of

GATE, TEST = Ref("prompts", "gate", "base"), Ref("prompts", "test", "base")
FIELDS = {"template": "{question}", "reference": "answer"}


def write(folder, name, rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def questions(count, start=0):
    return [{"question": f"What is {i}+1?", "answer": i + 1} for i in range(start, start + count)]


def context(folder, count=10, rounds=None, **prompts):
    write(folder, "train.jsonl", questions(count))
    spec = spec_of(seed=3, prompts={"train": "train.jsonl", "fields": FIELDS} | prompts)
    return FakeContext(spec, folder)


def rounds_of(ctx, count):
    """Prompt ids of `count` rounds in a row, each with the earlier ones as history."""
    found, history = [], []
    for round_ in range(count):
        ctx.round = round_
        if history:
            ctx.tables[HISTORY] = pa.concat_tables(history)
        rows = Train().run(ctx).rows["prompts", "train"]
        history.append(rows)
        found.append(rows["prompt_id"].to_pylist())
    return found


def test_rounds_share_no_prompt_and_follow_the_seed(tmp_path):
    ctx = context(tmp_path, per_round=4)
    first, second = rounds_of(ctx, 2)
    assert len(set(first + second)) == 8
    ctx.tables.clear()
    assert rounds_of(ctx, 2) == [first, second]
    other = FakeContext(ctx.spec.model_copy(update={"seed": 4}), tmp_path)
    assert set(rounds_of(other, 1)[0]) != set(first)
    write(tmp_path, "train.jsonl", questions(10)[::-1])
    ctx.tables.clear()
    assert rounds_of(ctx, 1)[0] == first


def test_an_empty_pool_says_what_is_left(tmp_path):
    ctx = context(tmp_path, per_round=4)
    with pytest.raises(DataError, match="round 2 needs 4 prompts, 2 are left of 10") as caught:
        rounds_of(ctx, 3)
    assert "epochs to 2" in caught.value.hint


def test_a_round_may_span_two_passes_without_repeating(tmp_path):
    ctx = context(tmp_path, per_round=4, epochs=2)
    found = rounds_of(ctx, 5)
    assert all(len(set(ids)) == 4 for ids in found)
    flat = [prompt for ids in found for prompt in ids]
    assert sorted(flat.count(prompt) for prompt in set(flat)) == [2] * 10
    assert len(set(flat[:10])) == 10
    with pytest.raises(DataError, match="0 are left of 10 in the pool, 2 times each"):
        rounds_of(ctx, 6)


def test_without_per_round_every_round_has_all(tmp_path):
    ctx = context(tmp_path)
    one, two = rounds_of(ctx, 2)
    assert one == two and len(one) == 10
    assert HISTORY not in Train().reads(ctx.spec, 1)


def test_held_out_parts_and_the_pool_after_the_file_grew(tmp_path):
    ctx = context(tmp_path, 20, gate={"rows": 5, "of": "train"})
    ctx.round = BASE
    made = Heldout().run(ctx)
    assert set(made.rows) == set(Heldout().writes())
    assert [made.rows["prompts", part].num_rows for part in ("gate", "test")] == [5, 0]
    ctx.tables[GATE] = made.rows["prompts", "gate"]
    write(tmp_path, "train.jsonl", questions(40))
    ctx.round = 1
    rows = Train().run(ctx).rows["prompts", "train"]
    held = set(ctx.tables[GATE]["prompt_id"].to_pylist())
    assert rows.num_rows == 35 and not held & set(rows["prompt_id"].to_pylist())


def test_a_train_prompt_that_is_held_out_stops_the_round(tmp_path):
    ctx = context(tmp_path)
    ctx.tables[TEST] = Train().run(ctx).rows["prompts", "train"].slice(3, 1)
    with pytest.raises(DataError, match="also a test prompt"):
        Train().run(ctx)


def test_settings_are_what_the_rows_depend_on(tmp_path):
    def settings(step, **prompts):
        ctx = context(tmp_path, 20, **prompts)
        return step.settings(ctx.spec, 0, ctx.spec_path)

    assert settings(Train(), per_round=4) == settings(Train(), per_round=4, epochs=9, duplicates="first")
    assert settings(Train(), per_round=4) != settings(Train(), per_round=5)
    assert settings(Heldout(), gate={"rows": 4}) != settings(Heldout(), gate={"rows": 5})
    before = settings(Train())
    write(tmp_path, "train.jsonl", questions(21))
    assert Train().settings(context(tmp_path, 21).spec, 0, tmp_path / "spec.yaml") != before
    json.dumps(before)


def base_context(folder, rows, **more):
    write(folder, "base.jsonl", rows)
    write(folder, "train.jsonl", questions(3, start=50))
    prompts = {"train": "train.jsonl", "fields": FIELDS | {"system": "Be brief."}}
    spec = spec_of(models={}, base={"data": "base.jsonl", "response": "solution"}, prompts=prompts | more)
    return FakeContext(spec, folder, BASE)


def test_worked_examples_train_on_the_answer_alone(tmp_path):
    ctx = base_context(tmp_path, [{"question": "1+1?", "solution": " 1+1=2."}, {"question": "1+1?", "solution": " It is 2."}])
    rows = Demonstrations().run(ctx).rows["selected", "policy"]
    tables.check_keys("selected", rows)
    first = rows.to_pylist()[0]
    assert [(m["role"], m["content"], m["origin"], m["weight"]) for m in first["messages"]] == [
        ("system", "Be brief.", "gold", 0.0),
        ("user", "1+1?", "gold", 0.0),
        ("assistant", " 1+1=2.", "gold", 1.0),
    ]
    assert (first["origin"], first["source_round"], first["weight"], first["generation_id"]) == ("gold", -1, 1.0, None)
    assert len(set(rows["row_id"].to_pylist())) == 2 and len(set(rows["prompt_id"].to_pylist())) == 1
    assert [step.name for step in steps(ctx.spec)] == ["heldout", "prompts", "demonstrations"]


def test_broken_worked_examples(tmp_path):
    with pytest.raises(DataError, match="solution: the row has no such column") as caught:
        Demonstrations().run(base_context(tmp_path, [{"question": "x", "solutoin": "y"}]))
    assert "solutoin" in caught.value.hint and caught.value.where.endswith("base.jsonl:1")
    with pytest.raises(DataError, match="expected the text"):
        Demonstrations().run(base_context(tmp_path, [{"question": "x", "solution": ""}]))
    twice = [{"question": "x", "solution": "y"}] * 2
    with pytest.raises(DataError, match="same worked example"):
        Demonstrations().run(base_context(tmp_path, twice))
    assert Demonstrations().run(base_context(tmp_path, twice, duplicates="first")).rows["selected", "policy"].num_rows == 1


def test_a_worked_example_of_a_held_out_prompt(tmp_path):
    ctx = base_context(tmp_path, [{"question": "What is 51+1?", "solution": "52"}])
    held = Train().run(FakeContext(ctx.spec, tmp_path)).rows["prompts", "train"]
    ctx.tables[GATE] = held
    with pytest.raises(DataError, match="this base prompt is also a gate prompt"):
        Demonstrations().run(ctx)
