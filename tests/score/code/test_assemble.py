"""HumanEval's completions, as base and as chat models write them."""

import pytest

from engine.score.code.assemble import assemble, helpers, prompt_code

PROMPT = '''import math


def half(x):
    return x / 2


def area(r: float) -> float:
    """ Area of a circle.
    >>> area(0)
    0.0
    """
'''
BODY = "    square = r * r\n    return math.pi * square\n"


def run(made):
    names = {}
    for text in (made.setup, made.code):
        exec(text, names)  # noqa: S102 - the test's own text
    return names["area"](1)


@pytest.mark.parametrize(
    "answer",
    [
        BODY,
        BODY.lstrip(),
        BODY.replace("    ", "", 2).replace("\n    ", "\n"),
        "\n" + BODY,
        PROMPT + BODY,
        f"def area(r):\n{BODY}",
        f"from __future__ import annotations\n\n\ndef area(r):\n{BODY}",
        f"{BODY}\n\ndef other():\n    return 1\n",
        f"{BODY}\n\nThis is the area of the circle.",
        f"{BODY}\n# Test\nprint(area(\n",
        f"{BODY.lstrip()}\nIt multiplies.",
        "    r = half(2 * r)\n" + BODY,
    ],
)
def test_answers_that_are_right(answer):
    assert run(assemble(answer, PROMPT, "area")) == pytest.approx(3.14159, 1e-5)


def test_a_prompt_that_ends_with_the_head_of_its_function():
    assert run(assemble(BODY, "import math\ndef area(r):\n", "area")) == pytest.approx(3.14159, 1e-5)
    assert run(assemble(BODY.lstrip(), "import math\ndef area(r):", "area")) == pytest.approx(3.14159, 1e-5)


def test_what_neither_defines_nor_continues():
    assert assemble("def other(r):\n    return 1\n", PROMPT, "area") is None
    assert assemble("x = 1\n", None, "area") is None
    # no Python: the sandbox says so
    assert assemble("I cannot do that.", PROMPT, "area").code == PROMPT + "I cannot do that."
    assert assemble("I cannot do that.", None, "area").code == "I cannot do that."


def test_helpers_are_the_prompt_without_the_function():
    assert helpers(PROMPT, "area") == "import math\n\ndef half(x):\n    return x / 2"
    assert assemble("area = lambda r: math.pi * r * r", PROMPT, "area").setup == helpers(PROMPT, "area")


@pytest.mark.parametrize(
    "text",
    [PROMPT, f"Complete this function.\n\n{PROMPT}", f"Complete:\n```python\n{PROMPT}```\nAnswer with the whole function."],
)
def test_the_code_in_a_prompt(text):
    assert prompt_code(text, "area").strip() == PROMPT.strip()
    assert prompt_code(text, "volume") is None


@pytest.mark.parametrize(
    "code", ["-" * 100_000 + "1", "a" + ".b" * 100_000, "1" + "+1" * 100_000, "x" * 300_000, "a\0b", "'\ud800'", "(" * 500]
)
def test_nothing_that_a_model_writes_raises_here(code):
    assert assemble(code, PROMPT, "area").code.endswith(code)
