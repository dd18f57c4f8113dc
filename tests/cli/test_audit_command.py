"""rondo audit: draws answers to label, reads the labels, and leaves everything else as it was."""

import csv
import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from engine.home import Home
from engine.lake import Lake
from engine.locks import Lock

Rondo = Callable[..., Result]


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))


def save(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        sheet = csv.DictWriter(file, rows[0].keys())
        sheet.writeheader()
        sheet.writerows(rows)


def humans(home: Home) -> list[dict[str, object]]:
    rows = Lake(home.lake).read("scores", experiment="tiny", part="rollout/human")
    return sorted(rows.to_pylist(), key=lambda row: str(row["item_id"]))


@pytest.fixture
def sheet(ran: Home, rondo: Rondo, tmp_path: Path) -> Path:
    path = tmp_path / "audit.csv"
    result = rondo("audit", "tiny", "--out", path, "--n", "6")
    assert result.exit_code == 0, result.output
    assert f"rondo audit tiny --read {path}" in result.stdout
    return path


def test_a_drawn_row_has_all_that_a_person_needs(sheet: Path, ran: Home) -> None:
    rows = table(sheet)
    assert len(rows) == 6 and {row["round"] for row in rows} == {"001"} and {row["human"] for row in rows} == {""}
    answers = {row["generation_id"]: row for row in Lake(ran.lake).read("generations", part="rollout", rounds=[1]).to_pylist()}
    for row in rows:
        assert answers[row["item_id"].lstrip("'")]["response"] == row["response"]
        assert row["prompt"].endswith("+1=") and row["reference"] == str(int(row["prompt"].removesuffix("+1=")) + 1)
        assert row["exact_verdict"] == ("right" if row["response"] == f" Answer: {row['reference']}" else "wrong")
    # every prompt has one right answer and one wrong: all wrong ones have a right sibling
    assert {row["stratum"] for row in rows} == {"siblings", "right"}
    sizes = {row["stratum"]: int(row["stratum_size"]) for row in rows}
    assert sizes == {"siblings": 6, "right": 6}
    for name in sizes:
        drawn = [row for row in rows if row["stratum"] == name]
        assert {float(row["weight"]) for row in drawn} == {sizes[name] / len(drawn)}


def test_the_same_draw_twice_and_another_by_another_seed(sheet: Path, ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    for name, words in (("again", ()), ("other", ("--seed", "99"))):
        assert rondo("audit", "tiny/1", "--out", tmp_path / name, "--n", "6", *words).exit_code == 0
    assert (tmp_path / "again").read_bytes() == sheet.read_bytes()
    assert {r["item_id"] for r in table(tmp_path / "other")} != {r["item_id"] for r in table(sheet)}


def test_labels_are_stored_once_and_answer_the_query(sheet: Path, ran: Home, rondo: Rondo) -> None:
    before = json.loads(rondo("status", "tiny", "--json").stdout)
    rows = table(sheet)
    for row in rows:
        row["human"] = "Right" if row["stratum"] == "siblings" else ""
    save(sheet, rows)
    wrong = sum(row["stratum"] == "siblings" for row in rows)
    read = json.loads(rondo("audit", "tiny", "--read", sheet, "--json").stdout)
    assert (read["right"], read["wrong"], read["unlabelled"]) == (wrong, 0, 6 - wrong)
    assert read["stored"][0] | {"round": 1, "added": wrong, "labels": wrong} == read["stored"][0]
    stored = humans(ran)
    assert {(r["verdict"], r["value"], r["item_kind"]) for r in stored} == {("right", 1.0, "generation")}
    assert {json.loads(str(r["detail"]))["weight"] for r in stored} == {6 / wrong}
    version = Lake(ran.lake).version("scores")
    assert "0 new, 0 in place" in rondo("audit", "tiny", "--read", sheet).stdout
    assert Lake(ran.lake).version("scores") == version and humans(ran) == stored
    found = json.loads(rondo("sql", "@false_negatives", "-e", "tiny", "--json").stdout)
    assert [(r["scorer"], r["audited"], r["share"], r["covered"]) for r in found] == [(s, wrong, 1.0, 1.0) for s in ("exact", "score")]
    scored = json.loads(rondo("sql", "select count(human) as n from scored", "-e", "tiny", "--json").stdout)
    assert scored == [{"n": wrong}]
    after = json.loads(rondo("status", "tiny", "--json").stdout)
    assert after["rounds"] == before["rounds"] and all(row["drift"] == [] for row in after["rounds"])
    assert json.loads(rondo("run", "tiny", "--json").stdout)["steps"] == []


def test_a_later_label_takes_the_place_of_an_earlier_one(sheet: Path, ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    rows = table(sheet)
    first, second, third = rows[:3]
    first["human"], second["human"] = "wrong", "0.25"
    save(sheet, rows)
    rondo("audit", "tiny", "--read", sheet)
    first["human"], second["human"], third["human"], third["note"] = "", "right", "0,5", "=half"
    save(tmp_path / "later.csv", rows[::-1])
    text = rondo("audit", "tiny", "--read", tmp_path / "later.csv").stdout
    assert "1 new, 1 in place of earlier ones, 0 known; 3 labels now" in text
    stored = {str(row["item_id"]): row for row in humans(ran)}
    found = [stored[row["item_id"].lstrip("'")] for row in (first, second, third)]
    assert [(row["verdict"], row["value"]) for row in found] == [("wrong", 0.0), ("right", 1.0), (None, 0.5)]
    assert json.loads(str(found[2]["detail"]))["note"] == "=half"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"human": "maybe"}, "the label is 'maybe'; expected right, wrong or a number"),
        ({"human": "inf"}, "the label is 'inf'"),
        ({"human": "right", "item_id": "0123456789abcdef"}, "no answer '0123456789abcdef' among the rollout answers of round 001"),
        ({"human": "right", "content_id": "0123456789abcdef"}, "another text now"),
        ({"human": "right", "experiment": "other"}, "of the experiment 'other', not of 'tiny'"),
        ({"human": "right", "round": "x"}, "'x' is not a round"),
        ({"human": "right", "stratum_size": "many"}, "stratum_size is 'many'"),
        ({"human": "right", "stratum_size": "0"}, "stratum_size is '0'"),
        ({"human": "right", "answers_of": "train"}, "expected rollout or eval"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_stored(sheet: Path, ran: Home, rondo: Rondo, change: dict[str, str], told: str) -> None:
    rows = table(sheet)
    rows[0]["human"] = "right"
    rows[2].update(change)
    save(sheet, rows)
    before = Lake(ran.lake).versions()
    result = rondo("audit", "tiny", "--read", sheet)
    assert result.exit_code == 2 and told in result.stderr and "line 4:" in result.stderr and "1 lines cannot be read" in result.stderr
    assert Lake(ran.lake).versions() == before and humans(ran) == []


def test_files_that_are_none(sheet: Path, ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    assert "no row has a label (6 rows)" in rondo("audit", "tiny", "--read", sheet).stderr
    assert "may hold labels" in rondo("audit", "tiny", "--out", sheet).stderr
    assert "cannot read the file" in rondo("audit", "tiny", "--read", tmp_path / "none.csv").stderr
    rows = table(sheet)
    rows[0]["human"] = "right"
    save(sheet, [*rows, rows[0]])
    assert "line 8: " in (told := rondo("audit", "tiny", "--read", sheet).stderr) and "stands in line 2 already" in told
    save(sheet, [{k: v for k, v in row.items() if k != "human"} for row in rows])
    assert "no column 'human'" in rondo("audit", "tiny", "--read", sheet).stderr
    for words, told in (
        ((), "give --out FILE"),
        (("--out", "a.csv", "--rule", "doubtfull"), "did you mean 'doubtful'?"),
        (("--out", "a.csv", "--scorer", "exat"), "did you mean 'exact'?"),
        (("--out", "a.csv", "--rule", "disagreement"), "no answers on which scorers disagree"),
        (("--out", "a.csv", "--part", "train"), "rollout"),
    ):
        assert told in rondo("audit", "tiny", *words).stderr
    assert "has no rollout answers; " in rondo("audit", "tiny/7", "--out", "a.csv").stderr.replace("\n  next:", ";")
    assert not Path("a.csv").exists()


def test_labels_wait_for_the_experiments_lock(sheet: Path, ran: Home, rondo: Rondo) -> None:
    rows = table(sheet)
    rows[0]["human"] = "right"
    save(sheet, rows)
    with Lock(ran.locks, "tiny", "other"):
        result = rondo("audit", "tiny", "--read", sheet)
    assert result.exit_code == 4 and humans(ran) == []


def test_held_out_answers_and_a_random_draw(ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    drawn = json.loads(
        rondo("audit", "tiny/base", "--part", "eval", "--rule", "random", "--n", "5", "--out", tmp_path / "a", "--json").stdout
    )
    assert (drawn["rows"], drawn["round"], drawn["answers_of"]) == (5, -1, "eval")
    assert drawn["strata"] == [{"name": "all", "what": "every answer", "answers": 12, "drawn": 5, "weight": 2.4}]
    rows = table(tmp_path / "a")
    assert all(row["round"] == "base" and row["prompt"] and row["reference"] for row in rows)
    for row in rows:
        row["human"] = "1"
    save(tmp_path / "a", rows)
    assert rondo("audit", "tiny", "--read", tmp_path / "a").exit_code == 0
    found = json.loads(rondo("sql", "@false_negatives", "-p", "verdict=null", "--json").stdout)
    assert {(r["answers_of"], r["round"]) for r in found} == {("eval", -1)} and math.isclose(sum(r["audited"] for r in found), 10)


def test_a_run_that_asks_for_a_next_round_does_not_see_the_labels(sheet: Path, ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    """A selection that reads every score of the past selects the same with labels and without."""
    (ran.experiments / "past.sql").write_text(
        "-- all\nselect g.generation_id, g.prompt_id, 1.0 as weight, 1 as rank, 'n ' || (select count(*) from history.scores) as reason "
        "from generations g where g.sample = 0 order by g.generation_id\n"
    )
    spec = ran.experiments / "tiny.yaml"
    spec.write_text(spec.read_text().replace("rounds: 2", "rounds: 3").replace("select/raft.sql, params: {top: 1}", "past.sql"))
    rows = table(sheet)
    for row in rows:
        row["human"] = "wrong"
    save(sheet, rows)
    assert rondo("audit", "tiny", "--read", sheet).exit_code == 0
    result = rondo("run", "tiny")
    assert result.exit_code == 0, result.output
    selected = Lake(ran.lake).read("selected", experiment="tiny", rounds=[2]).to_pylist()
    # two rounds of 12 rollouts, each with the scores exact and score
    assert {row["reason"] for row in selected if row["source_round"] == 2} == {"n 48"}


def test_help_loads_nothing_of_an_audit() -> None:
    code = "import sys, engine.cli; print([m for m in ('polars', 'duckdb', 'rapidfuzz', 'engine.report.audit') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]"
