"""What an audit is made of: strata, shares of the draw, and cells that survive a spreadsheet."""

import csv
from pathlib import Path

import pytest

from engine.errors import DataError
from engine.report import sheet
from engine.report.audit import said, shared
from engine.report.doubt import Item, Seen, is_near, strata

RIGHT, WRONG = Seen(1.0, "right"), Seen(0.0, "wrong")


def item(name: str, main: Seen | None, response: str = "x", reference: str | None = None, prompt: str = "", **others: Seen) -> Item:
    return Item(name, prompt or f"prompt of {name}", response, reference, main, others)


def test_every_answer_lies_in_the_first_stratum_that_it_meets() -> None:
    items = [
        item("a", Seen(0.0, "timeout")),
        item("b", Seen(0.0, "error"), exact=RIGHT, judge=WRONG),
        item("c", Seen(0.0, "unparseable")),
        item("d", WRONG, exact=WRONG, other=RIGHT),
        item("e", RIGHT, exact=WRONG),
        item("f", WRONG, "so it is 7.", "7"),
        item("g", WRONG, prompt="shared"),
        item("h", RIGHT, prompt="shared"),
        item("i", WRONG),
        item("j", None),
        item("k", Seen(None, None)),
    ]
    assert strata(items, 1.0, "doubtful") == {
        "failed": ["a", "b"],
        "unparseable": ["c"],
        "disagreement": ["d", "e"],
        "near": ["f"],
        "siblings": ["g"],
        "wrong": ["i"],
        "right": ["h"],
        "unscored": ["j", "k"],
    }
    assert strata(items, 1.0, "disagreement") == {"disagreement": ["d", "e"]}
    assert strata(items, 1.0, "random") == {"all": list("abcdefghijk")}
    assert strata([], 1.0, "doubtful") == {}


def test_numbers_near_the_bar() -> None:
    items = [item(f"n{value}", Seen(value, None)) for value in (0.0, 6.9, 7.0, 7.9, 8.1, 10.0)]
    found = strata(items, 7.0, "doubtful")
    assert found == {"bar": ["n6.9", "n7.0", "n7.9"], "wrong": ["n0.0"], "right": ["n8.1", "n10.0"]}
    # the two numbers of a verifier are no neighbours of a bar
    assert set(strata([item("a", Seen(1.0, None)), item("b", Seen(0.0, None))], 1.0, "doubtful")) == {"right", "wrong"}


@pytest.mark.parametrize(
    ("response", "reference", "near"),
    [
        ("the answer is 72.", "72", True),
        ("the answer is 1,072.00", "so ... #### 1072", True),
        ("the answer is 72.5", "72", True),
        ("the answer is 73", "72", False),
        ("0", "0", True),
        ("first 72, " + "then on " * 60 + "so 5", "72", False),
        ("It is Paris!", "paris", True),
        ("It is Pari.", "Paris, France", False),
        ("I say Massachusets", "Massachusetts", True),
        ("no", "on", False),
        ("", "72", False),
        ("72", None, False),
        ("!", "...", False),
    ],
)
def test_near_the_reference(response: str, reference: str | None, near: bool) -> None:
    assert is_near(response, reference) is near


def test_every_stratum_is_drawn_from_while_n_allows() -> None:
    assert shared([2, 1, 1], [100, 100, 1], 13) == [8, 4, 1]
    assert shared([2, 1], [1, 1000], 50) == [1, 49]
    assert shared([2, 1], [3, 4], 50) == [3, 4]
    assert sum(shared([2, 2, 1, 1], [9, 9, 9, 9], 3)) == 3


def test_a_chat_as_text() -> None:
    assert said([{"role": "user", "content": "ask"}]) == "ask" and said([]) == ""
    assert said([{"role": "system", "content": "be"}, {"role": "user", "content": "ask"}]) == "system: be\n\nuser: ask"


CELLS = [
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'quoted", "''", "＝1", "plain", "", " =kept", "a,b;c", 'say "hi"'),
    *("two\nlines", "1234567890123456", "12e4567890123456", "0012345678901234", "72", "é漢🙂", "'"),
]


def test_cells_go_out_guarded_and_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert sheet.write(path, ["text", "number", "none"], [[cell, -1.5, None] for cell in CELLS]) == len(CELLS)
    with path.open(encoding="utf-8-sig", newline="") as file:
        raw = list(csv.reader(file))
    for row in raw[1:]:
        assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))
    assert raw[1][0] == "'=1+1" and raw[1 + CELLS.index("12e4567890123456")][0] == "'12e4567890123456"
    found = list(sheet.read(path, ["text", "number"]))
    assert [row["text"] for _, row in found] == CELLS
    assert found[0] == (2, {"text": "=1+1", "number": "-1.5", "none": ""})
    # a cell with a line break takes two lines of the file
    lines = {row["text"]: line for line, row in found}
    assert lines["1234567890123456"] == lines["two\nlines"] + 2


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_files_as_spreadsheets_save_them(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"\ufeffitem_id{mark}human\r\nx{mark}right\r\n{mark}\r\n'y{mark}\r\n".encode())
    assert [(line, row["item_id"], row["human"]) for line, row in sheet.read(path, ["human"])] == [(2, "x", "right"), (4, "y", "")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "no column 'human', found nothing"),
        (b"a,b\n", "no column 'human', found a, b"),
        (b"human,human\n", "stands twice"),
        (b"human,b\nx\n", ":2: 1 cells, the first line names 2"),
        (b"human\nr\xe9sum\n", "not UTF-8"),
        (b'human\n"open\n', "not a CSV"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, text: bytes, told: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text)
    with pytest.raises(DataError) as caught:
        list(sheet.read(path, ["human"]))
    assert told in str(caught.value)
