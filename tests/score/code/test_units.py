"""Tests one by one."""

import ast

from engine.score.code.units import units


def texts(tests, check=None):
    return [ast.unparse(unit) for unit in units(ast.parse(tests), check)]


def test_independent_assertions_stand_alone():
    assert texts("import math\nassert f(1) == 2\nassert math.isclose(f(2), 3)") == [
        "import math\nassert f(1) == 2",
        "import math\nassert math.isclose(f(2), 3)",
    ]
    assert texts("M = {}\ndef check(c):\n    assert c(1)\n    xs = [1]\n    assert c(xs)", "check") == [
        "M = {}\n\ndef check(c):\n    assert c(1)\n    xs = [1]",
        "M = {}\n\ndef check(c):\n    xs = [1]\n    assert c(xs)",
    ]


def test_an_assertion_that_may_change_what_a_later_one_sees_stays_without_failing():
    found = texts("s = Stack()\nassert s.push(1) is None\nassert f(1)\nassert s.pop() == 1")
    assert found[2] == "s = Stack()\ntry:\n    assert s.push(1) is None\nexcept Exception:\n    pass\nassert s.pop() == 1"
    assert found[1] == "s = Stack()\nassert f(1)"


def test_tests_that_hang_together_are_one():
    assert len(texts("assert f(1)\nfor x in f(2):\n    y = x\n    assert x\nassert y")) == 1
    assert len(texts("assert f(1)\nfor x in f(2):\n    assert x\nassert f(3)")) == 3
    assert len(texts("def check(c):\n    assert c(1)", "check")) == 1


def test_calls_of_the_tests_own_functions_are_tests():
    tests = "def test_a():\n    assert f(1)\ndef test_b():\n    assert f(2)\ntest_a()\ntest_b()"
    assert [text.splitlines()[-1] for text in texts(tests)] == ["test_a()", "test_b()"]
