"""Commands that ask for what is not there, in words that are none, or of a damaged home: a message, an exit code, nothing changed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from bad_home import Bench, message

Rondo = Callable[..., Result]
case = pytest.param

WORDS = [
    case("run loop --from 9", 2, ["--from 9", "base and 0 to 1", "rounds"], id="run from a round beyond the last"),
    case("run loop --from soon", 2, ["'soon' is not a round", "base, 0, 1"], id="run from no round"),
    case("run loop --until -3", 2, ["-3"], id="run until no round"),
    case("run loop rounds", 2, ["override 'rounds'", "key.sub=value"], id="run with half an override"),
    case("run loop --form 1", 2, ["--form", "--from"], id="unknown option"),
    case("rnu loop", 2, ["rnu", "run"], id="unknown command"),
    case("promote loop@7 --force --reason x", 1, ["round 007 of loop has no decision yet"], id="promote a round that is not there"),
    case("promote loop@1 --reason x", 2, ["--force"], id="promote without force"),
    case("promote loop --force --reason x", 2, ["expected EXPERIMENT@ROUND", "loop@1"], id="promote no round"),
    case("promote lop@1 --force --reason x", 2, ["'lop'", "did you mean 'loop'"], id="promote an unknown experiment"),
    case("rollback bad --reason x", 1, ["bad: nothing to roll back to", "promoted rounds: none"], id="roll back what never ran"),
    case(
        "rollback loop@7 --reason x",
        1,
        ["nothing to roll back to at round 007", "promoted rounds: base, 000, 001"],
        id="roll back to no round",
    ),
    case("fork bad@0 new", 1, ["round 000 of bad is not closed", "rondo run bad"], id="fork an open round"),
    case("fork loop@0 bad", 2, ["bad.yaml", "exists", "another name"], id="fork to a name in use"),
    case("fork loop@0 New!", 2, ["'New!'", "a-z, 0-9"], id="fork to a name that is none"),
    case("fork loop@0 ../new", 2, ["'../new'", "a-z, 0-9"], id="fork to a path"),
    case("fork loop new", 2, ["expected EXPERIMENT@ROUND"], id="fork without a round"),
    case("lineage 0123456789abcdef", 1, ["no checkpoint starts with '0123456789abcdef'"], id="lineage of an unknown checkpoint"),
    case("lineage loop@5", 1, ["loop has no checkpoint of round 005"], id="lineage of a round that is not there"),
    case("lineage lop@0", 1, ["'lop'", "did you mean 'loop'"], id="lineage of an unknown experiment"),
    case("diff loop lop", 1, ["'lop'", "did you mean 'loop'"], id="diff with an unknown experiment"),
    case("diff loop/0 loop/8", 1, ["008", "base, 000, 001"], id="diff with a round that is not there"),
    case("status lop", 2, ["'lop'", "did you mean 'loop'"], id="status of an unknown experiment"),
    case("recipes rafft", 2, ["'rafft'", "did you mean 'raft'"], id="unknown recipe"),
    case("spec generat.samples", 2, ["'generat.samples'", "generate.samples"], id="unknown field"),
    case("init quickstrt", 2, ["'quickstrt'", "did you mean 'quickstart'"], id="unknown starter"),
    case("gc --older-than -1", 2, ["--older-than", "greater than or equal to 0"], id="gc of the future"),
]


@pytest.mark.parametrize("words, code, parts", WORDS)
def test_a_command_that_asks_for_what_is_not_there(bench: Bench, rondo: Rondo, words: str, code: int, parts: list[str]) -> None:
    before, files = bench.snapshot(), sorted(bench.spec.parent.iterdir())
    said = message(rondo(*words.split()), code)
    assert all(part in said for part in parts), said
    assert bench.snapshot() == before and sorted(bench.spec.parent.iterdir()) == files


QUERIES = [
    case(["select * from lake.generatons"], ["generatons", "did you mean 'generations'"], id="unknown table"),
    case(["select respnse from lake.generations"], ['"respnse" not found', "response"], id="unknown column"),
    case(["select 1 form x"], ["query", "syntax error"], id="syntax error"),
    case([""], ["query"], id="nothing"),
    case(["-- nothing"], ["query"], id="only a comment"),
    case(["select 1; select 2"], ["expected one statement, found 2"], id="two statements"),
    case(["drop table lake.generations"], ["expected a SELECT, found DROP", "only reads"], id="a DROP"),
    case(["delete from lake.generations"], ["expected a SELECT, found DELETE"], id="a DELETE"),
    case(["copy (select 1) to 'x.csv'"], ["expected a SELECT, found COPY"], id="a COPY"),
    case(["attach 'x.db'"], ["expected a SELECT, found ATTACH"], id="an ATTACH"),
    case(["set threads = 1"], ["expected a SELECT, found"], id="a SET"),
    case(
        ["select * from generations"],
        ["Table with name generations", "next: lake.generations, or -e EXPERIMENT"],
        id="a bare name without an experiment",
    ),
    case(["select $x"], ["names $x"], id="a parameter that nobody gives"),
    case(["select $x", "--param", "x"], ["--param 'x'", "KEY=VALUE"], id="half a parameter"),
    case(["select $x", "--param", "x=[1"], ["--param 'x=[1'", "not YAML"], id="a parameter that is not YAML"),
    case(["select 'a'::int"], ["Could not convert", "'a'"], id="an error while it computes"),
    case(["select 'a'::int", "--json"], ["Could not convert", "'a'"], id="an error while it computes JSON"),
    case(["@learning"], ["no shipped query '@learning'", "did you mean 'learning_curve'"], id="unknown shipped query"),
    case([], ["-f FILE", "@learning_curve"], id="no query"),
    case(["select 1", "-f", "x.sql"], ["not both"], id="a query and a file"),
    case(["-f", "x.sql"], ["x.sql", "no file and no shipped query"], id="a file that is not there"),
    case(["-f", "."], ["no file and no shipped query '.'"], id="a folder"),
    case(["select 1", "-e", "loop/soon"], ["'soon' is not a round"], id="no round"),
]


@pytest.mark.parametrize("words, parts", QUERIES)
def test_a_query_that_cannot_run(bench: Bench, rondo: Rondo, words: list[str], parts: list[str]) -> None:
    before = bench.snapshot()
    said = message(rondo("sql", *words), 2)
    assert all(part in said for part in parts), said
    assert bench.snapshot() == before and not Path("x.csv").exists() and not Path("x.db").exists()


@pytest.mark.parametrize(
    "words, parts",
    [
        case(["-e", "lop"], ["no experiment 'lop' has run", "did you mean 'loop'"], id="unknown experiment"),
        case(["-e", "loop/7"], ["loop has no round 007", "base, 000, 001"], id="a round that is not there"),
        case(["--at", "loop/7"], ["loop has no round 007", "base, 000, 001"], id="the tables of a checkpoint that is not there"),
        case(["--export", "nowhere/lake.sql"], ["nowhere/lake.sql", "No such file"], id="export to no folder"),
    ],
)
def test_a_query_of_what_never_ran(bench: Bench, rondo: Rondo, words: list[str], parts: list[str]) -> None:
    before = bench.snapshot()
    said = message(rondo("sql", "select count(*) from lake.generations", *words), 1)
    assert all(part in said for part in parts), said
    assert bench.snapshot() == before


def part_of(bench: Bench, table: str) -> Path:
    """The data file of round 1 in a table."""
    files = bench.lake.files(table, experiment="loop", rounds=[1])
    return Path(files[0].uri)


DAMAGE = [
    case(lambda b: part_of(b, "selected").unlink(), ["selected", "No such file", "removed by hand"], id="a data file that is gone"),
    case(
        lambda b: part_of(b, "selected").write_bytes(b"PAR1 nothing"),
        ["selected", "cannot read a data file"],
        id="a data file that is broken",
    ),
    case(
        lambda b: (b.home / "lake/selected/_delta_log/00000000000000000001.json").write_text("{nothing"),
        ["selected", "cannot open table"],
        id="a log that is broken",
    ),
    case(lambda b: shutil.rmtree(b.home / "lake/prompts/_delta_log"), ["prompts"], id="a log that is gone"),
]


@pytest.mark.parametrize("damage, parts", DAMAGE)
def test_a_damaged_lake_is_named_and_not_made_worse(bench: Bench, rondo: Rondo, damage: Callable, parts: list[str]) -> None:
    damage(bench)
    files = {p: p.stat().st_mtime_ns for p in (bench.home / "lake").rglob("*") if p.is_file()}
    table = parts[0]
    for words in (["sql", f"select count(columns(*)) from lake.{table}"], ["run", "loop", "rounds=3"]):
        result = rondo(*words)
        said = message(result, result.exit_code or 1)
        assert result.exit_code in (1, 2) and table in said, said
    assert all(part in said for part in parts), said
    assert {p: p.stat().st_mtime_ns for p in files} == files
