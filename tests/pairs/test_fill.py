"""From the SQL's result to rows of `pairs`: messages, defaults, ids that stay, and errors that name file, column and row."""

from __future__ import annotations

import pytest

from engine.errors import QueryError
from engine.pairs import STEP
from engine.pairs.fill import fits, pair
from engine.stepsql import StepSql
from pairs_lake import by_scores, change, compared
from small_lake import spec

IDS = "p.prompt_id, a.generation_id as chosen_id, b.generation_id as rejected_id"
JOINED = "from prompts p join generations a on a.prompt_id = p.prompt_id and a.sample = 0 join generations b on b.prompt_id = p.prompt_id"
GOOD = f"select {IDS} {JOINED} and b.sample = 1"
SAID = "[{'role': 'assistant', 'content': 'own'}]"
MARKED = "[{'role': 'assistant', 'content': 'own', 'origin': 'me', 'weight': 0.5::DOUBLE}]"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return by_scores(tmp_path_factory.mktemp("lake"), [1.0, 0.0], [0.0, 1.0])


def made(small, text, round_=0):
    """The rows of a SQL text."""
    (small.folder / "own.sql").write_text(f"-- A test's.\n{text}")
    sql = StepSql.load("own.sql", {}, STEP, small.folder / "spec.yaml")
    own = spec(select={}, pairs={"sql": "own.sql"}, train=[{"objective": "dpo", "init": "base", "reference": "base", "data": "round"}])
    fits(sql.probe(small.context(own, round_).sql, {}), sql.file)
    return pair(small.context(own, round_), sql).to_pylist()


def test_ids_become_messages_and_defaults_are_filled(small):
    first, second = made(small, GOOD)
    assert (first["prompt_id"], second["prompt_id"]) == ("p0", "p1")
    assert (first["chosen"][0]["content"], first["rejected"][0]["content"]) == ("answer 0", "answer 1")
    assert (first["weight"], first["origin"], first["source_round"], first["margin"], first["extra"]) == (1.0, "generation", 0, None, None)
    assert {first["ref_chosen_logps"], first["ref_rejected_logps"], first["third"]} == {None}


def test_row_ids_stay_with_the_pair_and_differ_with_its_sides(small):
    rows = made(small, GOOD)
    assert [row["row_id"] for row in rows] == [row["row_id"] for row in made(small, f"{GOOD} order by 1 desc")]
    assert [row["row_id"] for row in rows] == [row["row_id"] for row in made(small, GOOD.replace(IDS, f"{IDS}, 0.5 as weight"))]
    other = [
        GOOD.replace("as chosen_id", "as x_id").replace("as rejected_id", "as chosen_id").replace("as x_id", "as rejected_id"),
        GOOD.replace(IDS, f"{IDS}, 'replay' as origin"),
        GOOD.replace(IDS, f"{IDS}, a.generation_id as third_id"),
        GOOD.replace("b.generation_id as rejected_id", f"{SAID} as rejected"),
        GOOD.replace("b.generation_id as rejected_id", f"{SAID.replace('own', 'else')} as rejected"),
    ]
    ids = [{row["row_id"] for row in made(small, text)} for text in (GOOD, *other)]
    assert len(set().union(*ids)) == 2 * len(ids)
    assert [row["row_id"] for row in made(small, GOOD.replace(IDS, f"{IDS}, concat('mine ', p.prompt_id) as row_id"))] == [
        "mine p0",
        "mine p1",
    ]


def test_messages_of_the_sqls_own(small):
    row = made(small, f"select prompt_id, {SAID} as chosen, {MARKED} as rejected from prompts where prompt_id = 'p1'")[0]
    assert [(m["content"], m["origin"], m["weight"]) for m in (row["chosen"][0], row["rejected"][0])] == [
        ("own", "given", 1.0),
        ("own", "me", 0.5),
    ]
    assert [(m["content"], m["weight"]) for m in row["messages"]] == [("ask p1", 0.0)]
    prefix = "[{'role': 'system', 'content': 's'}, {'role': 'user', 'content': 'u'}] as messages"
    row = made(small, f"select prompt_id, {SAID} as chosen, {SAID.replace('own', 'x')} as rejected, {prefix} from prompts")[0]
    assert [m["content"] for m in row["messages"]] == ["s", "u"]


def test_numbers_and_maps(small):
    row = made(
        small, GOOD.replace(IDS, f"{IDS}, 1 as margin, 0.25 as probability, 2::DECIMAL(4, 1) as weight, MAP {{'a': 1, 'b': null}} as extra")
    )[0]
    assert (row["margin"], row["probability"], row["weight"], row["extra"]) == (1.0, 0.25, 2.0, [("a", 1.0), ("b", None)])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace(IDS, f"{IDS}, 1 as marjin"), "own.sql: column 'marjin' is not one that the SQL of `pairs` gives"),
        (GOOD.replace(IDS, f"{IDS}, 1.0 as ref_chosen_logps"), "column 'ref_chosen_logps' is not one"),
        (f"select p.prompt_id, a.generation_id as chosen_id {JOINED}", "expected prompt_id, chosen_id or chosen, and rejected_id"),
        (GOOD.replace(IDS, f"{IDS}, 'x' as margin"), "own.sql: column margin: expected numbers, found string"),
        (GOOD.replace(IDS, f"{IDS}, 'x' as extra"), "own.sql: column extra: expected a map from text to numbers"),
        (GOOD.replace(IDS, f"{IDS}, 'x' as third"), "own.sql: column third: expected a list of {role, content}"),
        (GOOD.replace("p.prompt_id, a.", "null as prompt_id, a."), "own.sql: column prompt_id, row 1: null where a prompt's id is needed"),
        (GOOD.replace("b.generation_id as", "'gone' as"), "own.sql: column rejected_id, row 1: 'gone' is no answer of this round"),
        (GOOD.replace("b.generation_id as", "null::VARCHAR as"), "own.sql: column rejected, row 1: the pair has no rejected answer"),
        (GOOD.replace("p.prompt_id, a.", "'p1' as prompt_id, a."), "column chosen_id, row 1: the answer belongs to prompt 'p0'"),
        (GOOD.replace(IDS, f"{IDS}, -1 as weight"), "own.sql: column weight, row 1: -1.0 is no weight"),
        (GOOD.replace(IDS, f"{IDS}, 1.5 as probability"), "own.sql: column probability, row 1: 1.5 is no probability"),
        (f"{GOOD} union all {GOOD}", "own.sql: column row_id, row 3: the pair of prompt 'p0' stands in rows 1 and 3"),
        (f"select 'p9' as prompt_id, {SAID} as chosen, {MARKED} as rejected from prompts limit 1",
         "own.sql: column prompt_id, row 1: the prompt 'p9' is not among this round's prompts"),
        ("select prompt_id from lake.prompts", "lake.prompts: a step never reads other experiments"),
        ("select prompt_id from pairs", "pairs of this round does not exist yet when this SQL runs"),
    ],
)  # fmt: skip
def test_what_is_wrong_names_file_column_and_row(small, text, says):
    with pytest.raises(QueryError) as error:
        made(small, text)
    assert says in str(error.value)


def test_an_answer_that_was_asked_something_of_its_own_brings_it(tmp_path):
    small = by_scores(tmp_path, [1.0, 0.0])
    change(small, messages={"p0-0": [{"role": "user", "content": "asked so"}]})
    assert [m["content"] for m in made(small, GOOD)[0]["messages"]] == ["asked so"]


def test_answers_that_only_comparisons_name_are_filled_too(tmp_path):
    small = by_scores(tmp_path, [1.0, 0.0])
    compared(small, {("p0-1", "p0-0"): 0.9})
    row = made(small, "select prompt_id, left_id as chosen_id, right_id as rejected_id from preferences")[0]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("answer 1", "answer 0")


def test_pairs_of_an_earlier_round_come_with_their_messages(tmp_path):
    small = by_scores(tmp_path, [1.0, 0.0])
    small.put("pairs", "policy", made(small, GOOD), 0)
    small.prompts(["p0"], round_=1)
    small.answers([("p0", "later", 1.0)], round_=1)
    columns = "row_id, prompt_id, messages, chosen, rejected, chosen_id, rejected_id, source_round, 'replay' as origin"
    (row,) = made(small, f"select {columns} from history.pairs", 1)
    assert (row["origin"], row["source_round"], row["chosen_id"], row["chosen"][0]["content"]) == ("replay", 0, "p0-0", "answer 0")
