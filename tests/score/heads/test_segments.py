"""Where sentences, lines and steps end."""

from __future__ import annotations

from itertools import pairwise

import pytest

from engine.score.heads.segments import ends

STEPS = "1. Add 2.\n2. Then multiply. So 4.\n\n \nAnswer: 4 \n"
ODD = ["It costs 3.5 of, e.g. Dr. J. Smith's.", '"Yes."', "(No.)", "Then x.", "Why..."]


def split(text, unit):
    found = [0, *ends(text, unit)]
    assert found[-1] in (0, len(text))
    return [text[a:b].strip() for a, b in pairwise(found)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('It costs 3.5 of, e.g. Dr. J. Smith\'s. "Yes." (No.) Then x. Why...', ODD),
        ("x = 5. y = 6", ["x = 5. y = 6"]),
        ("Solve for x. Then go.", ["Solve for x.", "Then go."]),
        ("The answer is no. Next", ["The answer is no.", "Next"]),
        ("一。二！三", ["一。", "二！", "三"]),
        (STEPS, ["1. Add 2.", "2. Then multiply.", "So 4.", "Answer: 4"]),
        (" \n ", []),
        ("", []),
        ("word", ["word"]),
    ],
)
def test_sentences(text, expected):
    assert split(text, "sentence") == expected


def test_lines_and_steps():
    assert split(STEPS, "line") == ["1. Add 2.", "2. Then multiply. So 4.", "Answer: 4"]
    assert split(STEPS, "step") == ["1. Add 2.\n2. Then multiply. So 4.", "Answer: 4"]
    assert split("", "line") == split("\n\n", "step") == []
