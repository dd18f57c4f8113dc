"""Tier 1: monty takes only what cannot be turned against its judge, and never says `passed` where full Python does not."""

from __future__ import annotations

import ast

import pytest

from engine.score.sandbox import Limits, Program, Sandbox
from engine.score.sandbox.simple import Simple
from engine.score.sandbox.subset import unfit

ADD = "def add(a, b):\n    return a + b\n"
CHECK = "def check(candidate):\n    assert candidate(1, 2) == 3\n    for i in range(3):\n        assert candidate(i, i) == 2 * i\n"

FIT = {
    "asserts": Program(ADD, "assert add(1, 2) == 3\n"),
    "check": Program(ADD, CHECK, entry="add"),
    "imports": Program(
        "from typing import List\nimport math\ndef root(x: List[int]) -> float:\n    return math.sqrt(x[0])\n", "assert root([4]) == 2\n"
    ),
    "helpers": Program("def f(x):\n    return g(x) + 1\ndef g(x):\n    return [y for y in x if y > 0][0]\n", "assert f([-1, 2]) == 3\n"),
    "setup": Program("def f(x):\n    return helper(x)\n", "assert f(1) == 2 == helper(1)\n", setup="def helper(x):\n    return x + 1\n"),
}
UNFIT = {
    "a script": Program("print(1)"),
    "stdin": Program("print(1)", stdin="1"),
    "a class": Program("class A:\n    pass\n", "assert A()\n"),
    "an import": Program("import os\ndef f():\n    return 1\n", "assert f() == 1\n"),
    "an import inside": Program("def f():\n    import os\n    return 1\n", "assert f() == 1\n"),
    "a builtin of its own": Program("def abs(x):\n    return 0\ndef f():\n    return 1.0\n", "assert abs(f() - 3.25) < 1e-6\n"),
    "a builtin by assignment": Program("len = max\ndef f():\n    return [1]\n", "assert len(f()) == 1\n"),
    "a helper": Program("def c(a, b):\n    return 1\ndef f():\n    return 1\n", "assert c(f(), 2)\n", "def c(a, b):\n    return a == b\n"),
    "a test's function": Program("def check(c):\n    pass\ndef add(a, b):\n    return 0\n", CHECK, entry="add"),
    "a test's constant": Program("def f():\n    return EXPECTED\n", "EXPECTED = 42\nassert f() == EXPECTED\n"),
    "a test's loop": Program("def g():\n    want = 1\ndef f():\n    return want\n", "for want in [1, 2]:\n    assert f() == want\n"),
    "a setup's constant": Program("def f():\n    EXPECTED.clear()\n    return []\n", "assert f() == EXPECTED\n", setup="EXPECTED = [1]\n"),
    "an attribute that is set": Program("import math\nmath.pi = 4\ndef f():\n    return 4\n", "import math\nassert f() == math.pi\n"),
    "a global": Program("def f():\n    global x\n    x = 1\n    return 1\n", "assert f() == 1\n"),
    "an unknown name": Program("def f():\n    return globals()\n", "assert f()\n"),
    "a dunder": Program("def f():\n    return (1).__class__\n", "assert f() == int\n"),
    "a decorator": Program("def d(g):\n    return g\n@d\ndef f():\n    return 1\n", "assert f() == 1\n"),
    "a generator": Program("def f():\n    yield 1\n", "assert list(f()) == [1]\n"),
    "no python": Program("def f(:", "assert f()\n"),
    "a long one": Program(ADD + "#" * 20_000, "assert add(1, 2) == 3\n"),
    "a call at the top": Program(ADD + "add(1, 2)\n", "assert add(1, 2) == 3\n"),
}  # fmt: skip


@pytest.mark.parametrize("program", FIT.values(), ids=list(FIT))
def test_simple_programs_run_in_monty(program: Program) -> None:
    simple = Simple(Limits(), 1)
    try:
        (outcome,) = simple.run([program]).values()
    finally:
        simple.close()
    assert (outcome.status, outcome.runner) == ("passed", "monty") and outcome.seconds > 0


@pytest.mark.parametrize("program", UNFIT.values(), ids=list(UNFIT))
def test_what_could_cheat_or_differ_does_not(program: Program) -> None:
    assert unfit(program)
    assert Simple(Limits(), 1).run([program]) == {}
    (outcome,) = Simple(Limits(), 1).run([program], strict=True).values()
    assert outcome.status == ("unparseable" if program.code == "def f(:" else "error")


def test_only_passed_is_monty_s_to_say() -> None:
    wrong = Program("def add(a, b):\n    return a - b\n", "assert add(1, 2) == 3\n")
    endless = Program("def f():\n    while True:\n        pass\n", "assert f()\n")
    hungry = Program("def f():\n    return [0] * 10 ** 9\n", "assert f()\n")
    deep = Program("def f(n):\n    return f(n + 1)\n", "assert f(0)\n")
    loud = Program("def f():\n    for i in range(20000):\n        print('x' * 100)\n    return 1\n", "assert f() == 1\n")
    simple = Simple(Limits(seconds=1), 1)
    try:
        assert simple.run([wrong, endless, hungry, deep, loud]) == {}
        strict = simple.run([wrong, endless, hungry, deep, FIT["asserts"]], strict=True)
    finally:
        simple.close()
    assert [strict[i].status for i in range(5)] == ["failed", "timeout", "failed", "failed", "passed"]
    with Sandbox("monty", limits=Limits(seconds=1)) as sandbox:
        assert [one.status for one in sandbox.run([wrong, FIT["asserts"], UNFIT["a class"]])] == ["failed", "passed", "error"]


def test_printed_text_is_kept() -> None:
    simple = Simple(Limits(), 1)
    try:
        (outcome,) = simple.run([Program("def f(x):\n    print('seen', x)\n    return x\n", "assert f(1) == 1\n")]).values()
    finally:
        simple.close()
    assert outcome.stdout == "seen 1\n"


MUTATED = """
def spread(xs, k):
    low, high, seen = xs[0], xs[0], {}
    for i, x in enumerate(xs):
        if x < low:
            low = x
        elif x > high:
            high = x
        seen[x] = seen.get(x, 0) + 1
        while k > 3 and i % 2 == 0:
            k -= 1
    words = sorted(str(x) for x in seen if seen[x] >= 1)
    return (high - low) * k // 2, ' '.join(words), round(sum(xs) / len(xs), 2), [x for x in xs if x not in (0, 3)][::-1]
"""
JUDGED = "assert spread([3, 1, 2], 2) == (2, '1 2 3', 2.0, [2, 1])\nassert spread([5, 5, -1, 0], 7) == (9, '-1 0 5', 2.25, [-1, 5, 5])\n"


class Bug(ast.NodeTransformer):
    """Changes the `place`-th comparison, operator or number."""

    def __init__(self, place: int) -> None:
        self.place, self.met = place, -1

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, (ast.Compare, ast.BinOp, ast.AugAssign)) or (isinstance(node, ast.Constant) and type(node.value) is int):
            self.met += 1
            if self.met == self.place:
                if isinstance(node, ast.Compare):
                    node.ops = [
                        ast.LtE() if isinstance(node.ops[0], ast.Gt) else ast.Gt() if not isinstance(node.ops[0], ast.NotIn) else ast.In()
                    ]
                elif isinstance(node, ast.Constant):
                    node.value += 1
                else:
                    node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        return node


def test_monty_and_python_agree_on_planted_bugs() -> None:
    codes = [MUTATED]
    while True:
        bug = Bug(len(codes) - 1)
        tree = bug.visit(ast.parse(MUTATED))
        if bug.met < bug.place:
            break
        codes.append(ast.unparse(ast.fix_missing_locations(tree)))
    assert len(codes) > 20
    simple = Simple(Limits(seconds=1), 1)
    try:
        found = simple.run([Program(code, JUDGED) for code in codes], strict=True)
    finally:
        simple.close()
    for index, code in enumerate(codes):
        try:
            if found[index].status == "timeout":
                continue
            exec(f"{code}\n{JUDGED}", {})  # noqa: S102 - our own text
            expected = "passed"
        except Exception:  # noqa: BLE001
            expected = "failed"
        assert found[index].status == expected, code
