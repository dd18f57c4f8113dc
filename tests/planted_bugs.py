"""Bugs planted into right programs by changing their syntax tree, each one checked in plain Python to be a bug."""

from __future__ import annotations

import ast
import copy
import json
import subprocess
import sys
from collections.abc import Iterator

FLIPPED = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.Mult, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult}


def flip(node: ast.AST) -> None:
    """A comparison says the contrary."""
    assert isinstance(node, ast.Compare)
    node.ops[0] = FLIPPED[type(node.ops[0])]()


def swap(node: ast.AST) -> None:
    """Another arithmetic operator."""
    assert isinstance(node, ast.BinOp)
    node.op = SWAPPED[type(node.op)]()


def shift(node: ast.AST) -> None:
    """A whole number is off by one."""
    assert isinstance(node, ast.Constant)
    node.value += 1


def wrap(node: ast.AST) -> None:
    """The function returns its result in a list of one."""
    assert isinstance(node, ast.Return) and node.value is not None
    node.value = ast.List([node.value], ast.Load())


KINDS = {
    "flip": (flip, lambda node: isinstance(node, ast.Compare) and type(node.ops[0]) in FLIPPED),
    "swap": (swap, lambda node: isinstance(node, ast.BinOp) and type(node.op) in SWAPPED),
    "shift": (shift, lambda node: isinstance(node, ast.Constant) and type(node.value) is int),
    "wrap": (wrap, lambda node: isinstance(node, ast.Return) and node.value is not None),
}


def mutants(code: str, entry: str, first: int) -> Iterator[tuple[str, str]]:
    """(kind, code) for changes of the function `entry`; the kinds take turns at being first."""
    names = list(KINDS)
    for name in names[first % 3 :] + names[: first % 3]:
        change, fits = KINDS[name]
        tree = ast.parse(code)
        for index in range(sum(fits(node) for node in ast.walk(_function(tree, entry)))):
            made = copy.deepcopy(tree)
            change([node for node in ast.walk(_function(made, entry)) if fits(node)][index])
            yield name, ast.unparse(ast.fix_missing_locations(made))


def _function(tree: ast.Module, entry: str) -> ast.AST:
    return [node for node in tree.body if getattr(node, "name", None) == entry][-1]


CHILD = """
import json, os, resource, signal, sys
def fate(text):
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
        resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            exec(text, {"__name__": "checked"})
        except BaseException as error:
            os._exit(1 if isinstance(error, Exception) else 2)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return {0: "right", 1: "wrong"}.get(os.waitstatus_to_exitcode(status), "killed")
json.dump([fate(text) for text in json.load(sys.stdin)], sys.stdout)
"""


def in_plain_python(programs: list[str]) -> list[str]:
    """right, wrong (an exception) or killed (a limit), for texts that end with their tests. Only for programs that are trusted."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", CHILD], input=json.dumps(programs), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
