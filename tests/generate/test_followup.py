"""Second generations: SQL writes messages about answers, the policy answers them, they are scored and may train."""

import pytest

import loop_home
from engine.errors import QueryError, StepError
from engine.parts.generate import Followup
from engine.rows import own_columns

REVISE = """\
-- Asks again about every wrong first answer.
SELECT
    s.prompt_id,
    s.generation_id AS parent_id,
    list_append(p.messages, {'role': 'user', 'content': concat('Wrong: ', left(s.response, 4), '. Again?')}) AS messages
FROM scored AS s
INNER JOIN prompts AS p ON p.prompt_id = s.prompt_id
WHERE s.score < $bar AND s.sample < 2
"""
PICK = "SELECT prompt_id, generation_id, 'refined' AS origin FROM followup.scored WHERE sample = 0 AND depth = 1 AND score IS NOT NULL\n"


def _experiment(folder, sql=REVISE, pick=PICK, *more, **entry):
    text = loop_home.YAML.replace("rounds: 3", "rounds: 1").replace(
        "select: {sql: select/random.sql, params: {per_prompt: 1}}", "select: {sql: pick.sql}"
    )
    given = {"name": "revise", "sql": "revise.sql", "params": "{bar: 5.0}", "samples": 2, "max_tokens": 6, "temperature": 0.7} | entry
    text += f"followup: [{{{', '.join(f'{name}: {value}' for name, value in given.items())}}}]\n"
    path = loop_home.write(folder, text)
    (path.parent / "revise.sql").write_text(sql)
    (path.parent / "pick.sql").write_text(pick)
    return loop_home.load(folder, *more)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    experiment = _experiment(tmp_path_factory.mktemp("followup"))
    experiment.run()
    return experiment


def _rows(experiment, table, part):
    return own_columns(experiment.lake.read(table, experiment="loop", rounds=[0], part=part)).to_pylist()


def test_every_row_of_the_sql_is_answered_and_knows_what_it_is_about(run):
    first = {row["generation_id"]: row for row in _rows(run, "generations", "rollout")}
    prompts = {row["prompt_id"]: row for row in _rows(run, "prompts", "train")}
    rows = _rows(run, "generations", "followup/revise")
    asked = [parent for parent, row in first.items() if row["sample"] < 2]
    assert len(asked) == 48 and len(rows) == 96
    assert sorted((row["parent_id"], row["sample"]) for row in rows) == sorted((parent, k) for parent in asked for k in (0, 1))
    for row in rows:
        parent = first[row["parent_id"]]
        said = {"role": "user", "content": f"Wrong: {parent['response'][:4]}. Again?"}
        assert row["prompt_id"] == parent["prompt_id"]
        assert row["messages"] == [*prompts[row["prompt_id"]]["messages"], said]
        assert (row["depth"], row["model"], row["temperature"]) == (1, parent["model"], 0.7)
        assert row["response_tokens"] <= 6
    assert len({row["generation_id"] for row in rows} | set(first)) == len(rows) + len(first)
    assert len({(row["prompt_id"], row["response"]) for row in rows}) > 30


def test_they_are_scored_and_selected_like_answers(run):
    rows = _rows(run, "generations", "followup/revise")
    for scorer in ("math", "format", "score"):
        assert {row["item_id"] for row in _rows(run, "scores", f"followup/revise/{scorer}")} == {row["generation_id"] for row in rows}
    kept = [row for row in _rows(run, "selected", "policy") if row["source_round"] == 0]
    assert {row["generation_id"] for row in kept} == {row["generation_id"] for row in rows if row["sample"] == 0}
    told = run.sql("select step, tokens from lake.step_costs where step = 'revise_generations'").fetchall()
    assert told == [("revise_generations", sum(row["response_tokens"] for row in rows))]


def test_bare_names_never_show_them(run):
    assert run.sql("select count(*) from generations where depth > 0", 0).fetchall() == [(0,)]


def test_no_rows_are_an_empty_part(tmp_path):
    random = (
        "SELECT prompt_id, generation_id FROM generations\n"
        "WHERE sample = 0 AND generation_id NOT IN (SELECT parent_id FROM followup.scored)\n"
    )
    experiment = _experiment(tmp_path, REVISE.replace("s.sample < 2", "s.sample > 99"), random)
    experiment.run()
    assert experiment.state().entries[0, "revise_generations"].detail == {"asked": 0}
    assert _rows(experiment, "generations", "followup/revise") == []
    assert len([row for row in _rows(experiment, "selected", "policy") if row["source_round"] == 0]) == 24


@pytest.mark.parametrize(
    ("old", "new", "error", "match"),
    [
        ("s.prompt_id,", "", QueryError, "expected prompt_id, messages and perhaps parent_id"),
        ("AS messages", "AS messages, 1 AS weight", QueryError, "expected prompt_id, messages"),
        ("AS messages", "[1].content AS messages", QueryError, "a list of"),
        ("FROM scored AS s", "FROM followup.scored AS s", QueryError, "cannot read follow-ups of its own round"),
        ("s.generation_id AS parent_id", "s.prompt_id AS parent_id", StepError, "is no answer that the SQL reads"),
        ("s.prompt_id,", "'other' AS prompt_id,", StepError, "not among the round's prompts"),
        ("s.generation_id AS parent_id", "null AS parent_id", StepError, "rows stand twice"),
        ("concat('Wrong: ', left(s.response, 4), '. Again?')", "null::VARCHAR", StepError, "and content"),
        ("'role': 'user'", "'role': 'robot'", StepError, "expected a role of"),
    ],
)
def test_rows_that_cannot_be_asked(tmp_path, old, new, error, match):
    assert old in REVISE
    sql = REVISE.replace(old, new).replace("left(s.response, 4)", "s.prompt_id" if "twice" in match else "left(s.response, 4)")
    experiment = _experiment(tmp_path, sql)
    with pytest.raises(error, match=match):
        experiment.run()


def test_names_that_other_steps_have():
    with pytest.raises(ValueError, match="name of another one"):
        Followup(name="eval", sql="x.sql")
