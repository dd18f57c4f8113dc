"""The step `selected`: what trains is exactly what the SQL chose, filled from this round's rollouts."""

from __future__ import annotations

import pytest

from engine.errors import QueryError, StepError
from engine.ids import digest
from engine.select.steps import SelectedStep
from engine.tables import check, check_keys
from small_lake import SmallLake, spec

GOLD = [
    {"role": "user", "content": "ask g", "origin": "prompt", "weight": 0.0},
    {"role": "assistant", "content": "gold", "origin": "gold", "weight": 1.0},
]


@pytest.fixture
def small(tmp_path):
    lake = SmallLake(tmp_path)
    lake.prompts(["p1", "p2", "p3"])
    lake.answers(
        [
            ("p1", "no", 0.0),
            ("p1", "yes", 1.0),
            ("p1", "yes", 1.0),
            ("p1", "sure", 1.0),
            ("p2", "a", 0.25),
            ("p2", "b", 0.5),
            ("p2", "c", 0.5),
            ("p2", "d", None),
            ("p3", "x", 0.0),
            ("p3", "y", 0.0),
            ("p3", "z", 0.0),
            ("p3", "x", 0.0),
        ]
    )
    return lake


def run(small, sql="select/raft.sql", round_=0, data="round", **params):
    one = spec(select={"sql": sql, "params": params}, train=[{"init": "previous", "reference": "none", "data": data}])
    step = SelectedStep("policy", small.folder / "spec.yaml")
    output = step.run(small.context(one, round_))
    rows = output.rows["selected", "policy"]
    check_keys("selected", check("selected", rows))
    return output, rows.to_pylist()


def chosen(rows):
    return [row["generation_id"] for row in rows]


def write(small, text):
    (small.folder / "mine.sql").write_text(text)
    return "mine.sql"


def test_raft_keeps_the_best_answer_and_fills_its_messages(small):
    output, rows = run(small)
    assert chosen(rows) == ["p1-1"]
    assert rows[0]["messages"] == [
        {"role": "user", "content": "ask p1", "origin": "prompt", "weight": 0.0},
        {"role": "assistant", "content": "yes", "origin": "policy", "weight": 1.0},
    ]
    assert (rows[0]["weight"], rows[0]["origin"], rows[0]["source_round"], rows[0]["rank"]) == (1.0, "generation", 0, 1)
    assert rows[0]["row_id"] == digest("p1", "p1-1", "generation", 0)
    assert (output.rows_in, output.detail["fresh"], output.detail["carried"]) == (12, 1, 0)


def test_raft_top_and_threshold(small):
    assert chosen(run(small, top=2)[1]) == ["p1-1", "p1-2"]
    assert chosen(run(small, min_score=0.5)[1]) == ["p1-1", "p2-1"]
    assert chosen(run(small, min_score=0, top=3)[1]) == ["p1-1", "p1-2", "p1-3", "p2-1", "p2-2", "p2-0", "p3-0", "p3-1", "p3-2"]


def test_global_raft_keeps_a_share_of_all_answers(small):
    assert chosen(run(small, "select/raft_global.sql", keep=0.3)[1]) == ["p1-1", "p1-2", "p1-3"]
    assert chosen(run(small, "select/raft_global.sql", keep=0.01)[1]) == ["p1-1"]


def test_rft_keeps_all_right_answers_that_differ(small):
    rows = run(small, "select/rft.sql")[1]
    assert chosen(rows) == ["p1-1", "p1-3"]
    assert [row["reason"] for row in rows] == ["right, 2 of this text", "right, 1 of this text"]


def test_most_frequent_right_text_by_its_first_sample(small):
    assert chosen(run(small, "select/most_frequent_right.sql")[1]) == ["p1-1"]
    small.answers([("p1", "b", 1.0), ("p1", "a", 1.0), ("p1", "wrong", 0.0), ("p1", "wrong", 0.0)])
    from engine.ids import content_id

    first = "p1-0" if content_id("b") < content_id("a") else "p1-1"
    assert chosen(run(small, "select/most_frequent_right.sql")[1]) == [first]


def test_random_draws_by_seed_and_ignores_scores(small):
    first, again = run(small, "select/random.sql", per_prompt=2)[1], run(small, "select/random.sql", per_prompt=2)[1]
    assert first == again
    assert [row["prompt_id"] for row in first] == ["p1", "p1", "p2", "p2", "p3", "p3"]
    draws = set()
    for round_ in range(8):
        small.prompts(["p"], round_=round_)
        small.answers([("p", str(i), 0.0) for i in range(8)], round_=round_)
        draws |= {row["generation_id"].split("-")[1] for row in run(small, "select/random.sql", round_)[1]}
    assert len(draws) > 2


def test_cumulative_adds_each_fresh_row_once(small):
    gold = {"row_id": "gold1", "prompt_id": "g", "messages": GOLD, "weight": 1.0, "origin": "gold", "source_round": -1}
    small.put("selected", "policy", [gold], -1)
    for round_ in range(3):
        small.prompts(["q"], round_=round_)
        small.answers([("q", f"answer {round_}", 1.0)], round_=round_)
        output, rows = run(small, round_=round_, data="cumulative")
        small.keep(output, round_)
        assert [row["source_round"] for row in rows] == [round_, -1, *range(round_)]
    assert [row["origin"] for row in rows] == ["generation", "gold", "generation", "generation"]
    assert rows[1]["row_id"] == "gold1" and rows[1]["messages"] == GOLD
    assert run(small, round_=2, data="round")[0].detail["carried"] == 0


def test_gold_trains_the_base_rows_alone_and_reads_no_answers(small):
    gold = {"row_id": "gold1", "prompt_id": "g", "messages": GOLD, "weight": 1.0, "origin": "gold", "source_round": -1}
    small.put("selected", "policy", [gold], -1)
    for data in ("round", "cumulative"):
        rows = run(small, "select/gold.sql", round_=1, data=data)[1]
        assert [(row["row_id"], row["source_round"], row["messages"]) for row in rows] == [("gold1", -1, GOLD)]
    one = spec(select={"sql": "select/gold.sql"})
    assert {(ref.table, ref.when) for ref in SelectedStep("policy").reads(one, 1)} == {("selected", "history")}


def test_answers_of_evaluation_cannot_be_selected(small):
    small.prompts(["p1"], "test", -1)
    small.answers([("p1", "leaked", 9.0)], part="eval")
    for sql in (
        "select prompt_id, generation_id from generations",
        "select prompt_id, generation_id from scored",
        "select prompt_id, item_id as generation_id from scores where scorer = 'score'",
    ):
        assert "p1-eval-0" not in chosen(run(small, write(small, sql))[1])
    with pytest.raises(QueryError, match="'p1-eval-0' is no rollout of this round"):
        run(small, write(small, "select prompt_id, 'p1-eval-0' as generation_id from generations limit 1"))


def test_sql_may_bring_its_own_messages(small):
    sql = (
        "select prompt_id, list_append(messages, {'role': 'assistant', 'content': 'one'}) as messages, 'refined' as origin, "
        "2 as weight from prompts where prompt_id = 'p1'"
    )
    row = run(small, write(small, sql))[1][0]
    assert row["messages"] == [
        {"role": "user", "content": "ask p1", "origin": "prompt", "weight": 0.0},
        {"role": "assistant", "content": "one", "origin": "given", "weight": 1.0},
    ]
    assert (row["generation_id"], row["weight"], row["origin"]) == (None, 2.0, "refined")


def test_empty_selection_says_why(small):
    with pytest.raises(StepError, match=r"0 of 12 answers \(11 scored\) have score >= 2; best score 1; verdicts: wrong 8, right 3, none 1"):
        run(small, min_score=2)
    with pytest.raises(StepError, match=r"history\.selected has 0 rows"):
        run(small, "select/gold.sql")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select prompt_id from scored", "expected prompt_id and generation_id or messages"),
        ("select generation_id from scored", "expected prompt_id"),
        ("select prompt_id, generation_id, score from scored", "column 'score' is not one of `selected`"),
        ("select prompt_id, generation_id, 'heavy' as weight from scored", "column weight: expected numbers, found"),
        ("select prompt_id, generation_id, 1.5 as rank from scored", "column rank: expected whole numbers"),
        ("select prompt_id, generation_id, -1 as weight from scored", r"column weight, row \d+: -1 is no weight"),
        ("select prompt_id, sample as generation_id from scored", "column generation_id: expected text"),
        ("select prompt_id, response as messages from scored", "column messages: expected a list of"),
        (
            "select prompt_id, generation_id, from scored union all select prompt_id, null from scored",
            "null where an answer's id is needed",
        ),
        ("select prompt_id, 'p9-9' as generation_id from prompts", "it reads no answers of this round"),
        ("select 'p2' as prompt_id, generation_id from scored", r"column prompt_id, row \d+: 'p2', but the answer belongs to prompt 'p1'"),
        (
            "select prompt_id, generation_id from scored union all select prompt_id, generation_id from scored where sample = 0",
            r"column row_id, row \d+: the row of prompt 'p\d', answer 'p\d-0' stands 2 times \(3 such rows\)",
        ),
        ("select prompt_id, generation_id from scored where scoer > 1", "scoer"),
        ("select prompt_id, generation_id from scord", "no table 'scord'"),
        ("select prompt_id, generation_id from lake.generations", "a step never reads other experiments"),
        ("select prompt_id, generation_id from selected", "does not exist yet"),
        ("select prompt_id, generation_id from history.steps", "the SQL of a step cannot read steps"),
        ("select prompt_id, generation_id from scored order by random()", r"random\(\) gives other rows"),
        ("select prompt_id, generation_id, current_date::varchar as reason from scored", "current_date"),
        ("select prompt_id, generation_id from scored using sample 3", "a sample draws other rows"),
        ("select prompt_id, generation_id from scored, read_csv('x.csv')", "reads outside the lake"),
        ("select prompt_id, generation_id from scored where score > $bar", r"names \$bar"),
        ("selec prompt_id from scored", "syntax error"),
        ("drop table scored", "SELECT"),
        ("select prompt_id, generation_id from scored; select 1", "one statement, found 2"),
        ("-- nothing", "empty"),
    ],
)
def test_wrong_sql_names_the_file_and_the_cause(small, sql, message):
    with pytest.raises(QueryError, match=message) as error:
        run(small, write(small, sql))
    assert "mine.sql" in str(error.value)


def test_null_prompt_and_missing_prompt_are_named(small):
    with pytest.raises(QueryError, match=r"column prompt_id, row \d+: null where a prompt's id"):
        run(small, write(small, "select null::varchar as prompt_id, generation_id from scored"))
    small.prompts(["p1", "p2"])
    with pytest.raises(QueryError, match="prompt 'p3' of answer 'p3-0' is not among this round's prompts"):
        run(small, write(small, "select prompt_id, generation_id from scored order by prompt_id, sample"))


def test_parameters_must_match(small):
    with pytest.raises(QueryError, match=r"'tpo' is given.*\n.*did you mean 'top'"):
        run(small, tpo=1)
    assert chosen(run(small, top=None)[1]) == ["p1-1"]


def test_file_beside_the_spec_goes_first_and_a_wrong_name_is_corrected(small):
    (small.folder / "select").mkdir()
    (small.folder / "select" / "raft.sql").write_text("select prompt_id, generation_id from scored where sample = 3")
    assert chosen(run(small)[1]) == ["p1-3", "p2-3", "p3-3"]
    with pytest.raises(QueryError, match=r"did you mean 'select/rft\.sql'"):
        run(small, "select/rtf.sql")


def test_settings_follow_the_code_and_not_the_comments(small):
    step, path = SelectedStep("policy"), small.folder / "spec.yaml"
    one = spec(select={"sql": "mine.sql"})
    texts = [
        "-- about\nselect prompt_id, generation_id from scored -- all\n",
        "select  prompt_id, generation_id\nfrom scored;",
        "select prompt_id, generation_id from scored limit 1",
    ]
    found = []
    for text in texts:
        write(small, text)
        found.append(step.settings(one, 0, path))
    assert found[0] == found[1] != found[2]
    assert step.settings(one, 1, path) != found[2]
    assert "small" not in str(found)


def test_reads_follow_the_tables(small):
    def read(sql, data="round"):
        one = spec(select={"sql": write(small, sql)}, train=[{"init": "previous", "reference": "none", "data": data}])
        return {(r.table, r.part, r.when) for r in SelectedStep("policy", small.folder / "spec.yaml").reads(one, 0)}

    answers = {("generations", "rollout", "round"), ("prompts", "train", "round")}
    scored = answers | {("scores", "rollout/score", "round"), ("scores", "rollout/exact", "round")}
    assert read("select prompt_id, generation_id from scored") == scored
    assert read("with t as (select prompt_id, generation_id from generations) select prompt_id, generation_id from t") == answers
    assert read("select prompt_id, generation_id from scored", "cumulative") == scored | {("selected", "policy", "history")}
    assert read("select prompt_id, messages from history.selected") == {("selected", None, "history")}
