"""Fenced blocks as models write them."""

import pytest

from engine.score.code.blocks import PYTHON, SQL, blocks, code_of

SOLUTION = "def add(a, b):\n    return a + b\n"
USE = "print(add(1, 2))\n"


def fenced(code, language="python", fence="```"):
    return f"{fence}{language}\n{code}{fence}\n"


@pytest.mark.parametrize(
    "text",
    [
        fenced(SOLUTION),
        f"Sure! Here it is:\n\n{fenced(SOLUTION)}\nIt adds two numbers.",
        fenced(SOLUTION, "Python"),
        fenced(SOLUTION, "py"),
        fenced(SOLUTION, "{.python}"),
        fenced(SOLUTION, 'python title="add.py"'),
        fenced(SOLUTION, fence="~~~"),
        fenced(SOLUTION, fence="````"),
        fenced(SOLUTION, " python"),
        f"Here: ```python\n{SOLUTION}```",
        f"```python\n{SOLUTION}",
        f"```python\n{SOLUTION.rstrip()}```\nDone.",
        "1. Add them:\n   ```python\n   def add(a, b):\n       return a + b\n   ```\n2. Done.",
        f"{fenced('pip install numpy', 'bash')}then\n{fenced(SOLUTION)}and\n{fenced('3', 'text')}",
        f"{fenced('old', 'python')}better:\n{fenced(SOLUTION)}",
        f"```python\nold\n\n```python\n{SOLUTION}```",
    ],
)
def test_the_last_python_block(text):
    assert code_of(text, PYTHON) == SOLUTION
    assert code_of(text, PYTHON, "last") == SOLUTION


def test_the_block_that_defines_what_is_asked_for_comes_before_its_use():
    text = f"{fenced(SOLUTION)}Use it:\n{fenced(USE)}"
    assert code_of(text, PYTHON, wanted=lambda code: "def add" in code) == SOLUTION
    assert code_of(text, PYTHON, "last", lambda code: "def add" in code) == USE
    assert code_of(text, PYTHON, wanted=lambda code: "def other" in code) == USE
    assert code_of(text, PYTHON, "all") == f"{SOLUTION}\n\n{USE}"
    assert code_of(text, PYTHON, "text") == text


def test_without_a_block_of_the_language_the_last_of_any_and_without_fences_the_text():
    assert code_of(f"{fenced('a', '')}x\n{fenced(SOLUTION, '')}", PYTHON) == SOLUTION
    assert code_of(fenced(SOLUTION, "javascript"), PYTHON) == SOLUTION
    assert code_of("    return a + b\n", PYTHON) == "    return a + b\n"
    assert code_of("", PYTHON) == ""
    assert code_of("Use `add` or ```x``` as you like", PYTHON) == "Use `add` or ```x``` as you like"
    assert code_of(f"{fenced('SELECT 1', 'sql')}{fenced('print(1)')}", SQL) == "SELECT 1\n"


def test_fences_inside_of_code_are_code():
    doc = 'def f():\n    """Use:\n    ```python\n    f()\n    ```\n    """\n'
    # a closing fence three columns in or fewer closes: indent the docstring by four
    assert code_of(f"```python\n{doc}```", PYTHON) == doc
    assert code_of("````markdown\n```python\nx\n```\n````", PYTHON) == "```python\nx\n```\n"


def test_an_empty_block_is_empty():
    assert [block.code for block in blocks("```python\n```\n```python")] == ["", ""]
    assert code_of("```python\n```", PYTHON) == ""
