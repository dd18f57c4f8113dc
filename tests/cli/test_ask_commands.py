"""sql, lineage, diff: answers over all rounds, as tables, CSV and JSON, now and as things were."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from typer.testing import Result

from engine import sqlfile
from engine.home import Home
from engine.lake import Lake
from engine.report.queries import parameters, shipped

Rondo = Callable[..., Result]


def test_sql_needs_no_home(home: Home, rondo: Rondo) -> None:
    assert rondo("sql", "select 1 as one").stdout.split() == ["one", "1"]
    assert json.loads(rondo("sql", "select count(*) as n from lake.generations", "--json").stdout) == [{"n": 0}]
    assert not home.root.exists()


def test_the_same_answer_as_table_csv_and_json(ran: Home, rondo: Rondo) -> None:
    query = "select round, part, count(*) as n, avg(length(response)) as mean_length from lake.generations group by all order by all"
    rows = json.loads(rondo("sql", query, "--json").stdout)
    assert [(r["round"], r["part"]) for r in rows] == [(-1, "eval"), (0, "eval"), (0, "rollout"), (1, "eval"), (1, "rollout")]
    assert {r["n"] for r in rows} == {12}
    table = list(csv.DictReader(io.StringIO(rondo("sql", query, "--csv").stdout)))
    assert [float(r["mean_length"]) for r in table] == [r["mean_length"] for r in rows] and list(table[0]) == list(rows[0])
    text = rondo("sql", query).stdout
    assert text.splitlines()[0].split() == ["round", "part", "n", "mean_length"] and "(5 rows)" in text


def test_json_and_csv_have_every_row_and_nested_values(ran: Home, rondo: Rondo) -> None:
    assert len(json.loads(rondo("sql", "select range as n from range(10000)", "--json").stdout)) == 10_000
    assert "(3 of 10 rows" in rondo("sql", "select * from range(10)", "--limit", "3").stdout
    value = json.loads(rondo("sql", "select messages, 'nan'::double as x, null as y from lake.prompts limit 1", "--json").stdout)[0]
    assert value["messages"][0]["role"] == "user" and value["x"] is None and value["y"] is None
    assert json.loads(next(csv.reader([rondo("sql", "select [1, 2] as x", "--csv").stdout.splitlines()[1]]))[0]) == [1, 2]


def test_an_experiment_opens_its_round_and_its_history(ran: Home, rondo: Rondo) -> None:
    count = "select count(*) from {} where part = 'train'"
    query = f"select ({count.format('prompts')}) as now, ({count.format('history.prompts')}) as before"
    assert json.loads(rondo("sql", query, "-e", "tiny", "--json").stdout) == [{"now": 6, "before": 6}]
    assert json.loads(rondo("sql", query, "-e", "tiny/0", "--json").stdout) == [{"now": 6, "before": 0}]
    assert json.loads(rondo("sql", "select avg(score) as x from scored", "-e", "tiny", "--json").stdout) == [{"x": 0.5}]
    assert json.loads(rondo("sql", "select $experiment as e, $round as r", "-e", "tiny/1", "--json").stdout) == [{"e": "tiny", "r": 1}]


def test_parameters_and_files(ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("-- how many\n--   $least = 0.5  bar\nselect count(*) as n from lake.scores where value >= $least\n")
    all_rows = json.loads(rondo("sql", "-f", tmp_path / "q.sql", "--json").stdout)[0]["n"]
    none = json.loads(rondo("sql", "-f", tmp_path / "q.sql", "--param", "least=2", "--json").stdout)[0]["n"]
    assert all_rows > 0 and none == 0
    assert "does not name $laest" in rondo("sql", "-f", tmp_path / "q.sql", "--param", "laest=2").stderr


def test_a_shipped_query_has_several_names_and_its_parameters_are_listed(ran: Home, rondo: Rondo) -> None:
    found = [
        json.loads(rondo("sql", *words, "-p", "prompt=+1=", "--json").stdout)
        for words in (["@why"], ["-f", "why"], ["-f", "queries/why.sql"])
    ]
    assert found[0] == found[1] == found[2] != []
    text = rondo("sql", "--list").stdout
    assert all(f"@{name}  " in text for name in shipped()) and "    prompt (must be given)  id, the start of one" in text
    listed = json.loads(rondo("sql", "--list", "lost", "--json").stdout)
    assert [row["name"] for row in listed] == ["lost"] and listed[0]["description"].startswith("Prompts that were lost")
    assert [(one["name"], one["default"]) for one in listed[0]["parameters"]] == [
        ("experiment", "null"),
        ("part", '"eval"'),
        ("limit", "100"),
    ]


def test_an_id_that_looks_like_a_number_stays_text(ran: Home, rondo: Rondo) -> None:
    for given, kept in {
        "0012345670123456": "0012345670123456",
        "12": 12,
        "1_000": "1_000",
        "0.5": 0.5,
        "true": True,
        "[1, 2]": [1, 2],
    }.items():
        assert json.loads(rondo("sql", "select $x as x", "-p", f"x={given}", "--json").stdout) == [{"x": kept}]


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_query_answers(ran: Home, rondo: Rondo, name: str) -> None:
    digest = Lake(ran.lake).read("checkpoints", rounds=[1])["digest"][0].as_py()
    known = {"checkpoint": digest, "prompt": "+1=", "left": "tiny", "right": "tiny"}
    known |= dict.fromkeys(("gold", "log_ratio", "confidence", "logprob"), "exact")
    needed = [one.name for one in parameters(sqlfile.read(shipped()[name])) if one.default is None]
    words = [word for one in needed for word in ("--param", f"{one}={known[one]}")]
    for scope in ([], ["-e", "tiny"]):
        result = rondo("sql", f"@{name}", "--json", *words, *scope)
        assert result.exit_code == 0, result.stderr
        assert isinstance(json.loads(result.stdout), list)


def test_at_reads_the_tables_that_trained_a_checkpoint(ran: Home, rondo: Rondo) -> None:
    query = "select count(*) as n from lake.prompts where part = 'train'"
    assert json.loads(rondo("sql", query, "--json").stdout) == [{"n": 12}]
    assert json.loads(rondo("sql", query, "--at", "tiny/0", "--json").stdout) == [{"n": 6}]
    assert rondo("gc", "--older-than", "0").exit_code == 0
    assert json.loads(rondo("sql", query, "--at", "tiny/0", "--json").stdout) == [{"n": 6}]
    assert "expected EXPERIMENT@ROUND" in rondo("sql", query, "--at", "tiny").stderr


def test_any_duckdb_client_reads_the_export(ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    assert rondo("sql", "--export", tmp_path / "lake.sql").exit_code == 0
    with duckdb.connect() as client:
        client.execute((tmp_path / "lake.sql").read_text())
        mine = client.sql("select experiment, round, decision from lake.rounds order by round").fetchall()
        assert client.sql("select count(*) from lake.scored").fetchall() == [(24,)]
    assert mine == [("tiny", -1, "promoted"), ("tiny", 0, "promoted"), ("tiny", 1, "promoted")]


@pytest.mark.parametrize(
    "words, told",
    [
        (("select * from lake.generatoins",), "generations"),
        (("select nope from lake.generations",), "nope"),
        (("drop table x",), "SQL only reads"),
        (("select 1; select 2",), "one statement"),
        (("select $x",), "$x"),
        (("@never_sloved",), "did you mean 'never_solved'?"),
        ((), "give a query"),
        (("-f", "no.sql"), "no file and no shipped query 'no.sql'"),
        (("-f", "whi"), "did you mean 'why'?"),
        (("@why",), "the SQL needs $prompt (id, the start of one"),
        (("@overlap", "-p", "lef=tiny"), "did you mean 'left'?"),
        (("@overlap", "-p", "lef=tiny"), "right (must be given)  another"),
        (("select 1", "-e", "nobody"), "no experiment 'nobody' has run"),
        (("select 1", "--param", "x"), "expected KEY=VALUE"),
        (("select 1/0::int as x, error('boom')",), "boom"),
    ],
)
def test_a_wrong_question_is_told(ran: Home, rondo: Rondo, words: tuple[str, ...], told: str) -> None:
    result = rondo("sql", *words)
    assert result.exit_code in (1, 2) and told in result.stderr and "Traceback" not in result.output


def test_lineage_leads_back_to_rows_scores_policy_and_prompts(ran: Home, rondo: Rondo) -> None:
    found = json.loads(rondo("lineage", "tiny@1", "--json", "--limit", "1000").stdout)
    checkpoints = {r["round"]: r for r in Lake(ran.lake).read("checkpoints").to_pylist()}
    assert found["checkpoint"]["digest"] == checkpoints[1]["digest"] and found["checkpoint"]["parents"] == [checkpoints[0]["digest"]]
    assert sum(row["times"] for row in found["rows"]) == found["summary"]["rows"] == checkpoints[1]["rows_trained"] == 8
    fresh = [row for row in found["rows"] if row["origin"] == "generation"]
    assert all(row["score"] == 1.0 and row["question"] and row["answer"] and row["written_by"] for row in fresh)
    prefix = checkpoints[1]["digest"][:10]
    assert json.loads(rondo("lineage", prefix, "--json").stdout)["checkpoint"] == found["checkpoint"]
    assert prefix in rondo("lineage", prefix, "--limit", "2").stdout
    wrongs = {"ffffffffffffffff": "no checkpoint starts with", "tiny@8": "no checkpoint of round 008", "tony@1": "did you mean 'tiny'"}
    for wrong, told in wrongs.items():
        result = rondo("lineage", wrong)
        assert result.exit_code != 0 and told in result.stderr
    assert "more of the digest" in rondo("lineage", "").stderr or "starts with" in rondo("lineage", "").stderr


def test_diff_of_two_rounds_and_of_two_experiments(ran: Home, rondo: Rondo) -> None:
    found = json.loads(rondo("diff", "tiny/0", "tiny/1", "--json").stdout)
    assert found["settings"] == [] and found["rows"]["prompts"] == {"both": 0, "left_only": 6, "right_only": 6}
    assert found["rows"]["selected"] == {"both": 14, "left_only": 0, "right_only": 6}
    metric = next(m for m in found["metrics"] if (m["suite"], m["metric"]) == ("test", "mean"))
    assert metric["left"] == metric["right"] == 1.0 and metric["difference"] == 0.0
    assert rondo("fork", "tiny@0", "branch").exit_code == 0
    assert rondo("run", "branch", "select.params.top=2", "select.params.min_score=0.0").exit_code == 0
    other = json.loads(rondo("diff", "tiny/1", "branch/1", "--json").stdout)
    assert {"key": "select.params.top", "left": 1, "right": 2} in other["settings"]
    assert other["rows"]["prompts"] == {"both": 6, "left_only": 0, "right_only": 0} and other["rows"]["selected"]["right_only"] == 6
    text = rondo("diff", "tiny", "branch").stdout
    assert "select.params.top" in text and "only branch" in text
    assert "no experiment 'tony' has run" in rondo("diff", "tony", "tiny").stderr
