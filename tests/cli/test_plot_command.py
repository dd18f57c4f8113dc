"""rondo plot, and what `rondo run` says of a training."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import Result

from engine.home import Home
from engine.lake import Lake
from engine.query import Session, Window
from engine.report import plot

Rondo = Callable[..., Result]


def test_run_says_how_each_training_went(ran: Home) -> None:
    screen = (ran.root / "screen.txt").read_text()
    lines = [line for line in screen.splitlines() if " checkpoint " in line]
    assert len(lines) == 3
    for line in lines:
        assert re.search(r" s  loss \d\.\d+, grad norm \d+(\.\d+)?$", line), line
    rows = Session(Lake(ran.lake), Window()).table("select detail from lake.steps where step = 'checkpoint' order by round", {}).to_pylist()
    logged = Session(Lake(ran.lake), Window()).table("select loss_last, grad_norm from lake.training order by round", {}).to_pylist()
    for row, own in zip(rows, logged, strict=True):
        detail = json.loads(row["detail"])
        assert (detail["loss last"], detail["grad norm"]) == (own["loss_last"], pytest.approx(own["grad_norm"]))


def test_a_picture_of_several_numbers(ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    out = tmp_path / "new" / "curve.svg"
    result = rondo("plot", "tiny", "--metric", "loss", "--metric", "grad_norm", "--out", out)
    assert result.exit_code == 0 and "6 entries of the training log, loss, grad_norm of policy" in result.stdout
    texts = "".join(ElementTree.parse(out).getroot().itertext())
    assert all(word in texts for word in ("steps of all rounds", "loss", "grad_norm", "base", "000", "001"))
    assert rondo("plot", "tiny").exit_code == 0 and Path("tiny.svg").stat().st_size > 1000
    assert rondo("plot", "tiny", "--out", tmp_path / "x.png").exit_code == 0 and (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_needs_no_network(ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    assert rondo("plot", "tiny", "--out", tmp_path / "x.html").exit_code == 0
    text = (tmp_path / "x.html").read_text()
    assert "<script src=" not in text and "vega" in text


def test_rounds_begin_where_the_last_one_ended() -> None:
    entries = [("a", -1, 10, 10), ("a", -1, 13, 13), ("a", 0, 10, 23), ("b", 0, 10, 10)]
    rows = [dict(zip(("experiment", "round", "step", "total_step"), e, strict=True)) | {"value": 1.0} for e in entries]
    layers = plot.chart(rows[:3], "loss").to_dict()["layer"]
    assert [layer["data"]["values"] for layer in layers[:2]] == [[{"step": 0, "round": "base"}, {"step": 13, "round": "000"}]] * 2
    both = plot.chart(rows, "loss").to_dict()["layer"]
    assert len(both) == 1 and both[0]["encoding"]["color"]["legend"] == {"orient": "top"}


def test_errors_say_what_there_is(ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    result = rondo("plot", "tiny", "--metric", "los", "--out", tmp_path / "x.svg")
    assert (
        result.exit_code == 1 and "no los of policy" in result.stderr and "it has clipped, grad_norm, learning_rate, loss" in result.stderr
    )
    result = rondo("plot", "tiny", "--out", tmp_path / "x.gif")
    assert result.exit_code == 2 and "x.gif: expected a file that ends in svg, png, pdf, html" in result.stderr
    assert rondo("plot", "tinny").exit_code != 0
    assert not list(tmp_path.glob("x.*"))
