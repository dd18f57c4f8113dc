"""What the referee makes of a test once, for all the answers that it judges: compiled, and looked at.

Tests that only compute may run in the referee itself, others in a process forked for them. Calls of the code that stand at
the head of the tests with literal arguments are sent along with the code, so that a program costs one round trip.
"""

from __future__ import annotations

import ast
import functools
import marshal
from typing import Any

from .wire import Packer

TESTS = "<tests>"
PURE = {
    *("math", "cmath", "collections", "itertools", "functools", "operator", "string", "re", "typing", "fractions", "decimal"),
    *("datetime", "copy", "heapq", "bisect", "statistics", "dataclasses", "enum", "abc", "numbers", "__future__"),
}
DENIED = {
    *("exec", "eval", "compile", "open", "input", "__import__", "setattr", "delattr", "globals", "locals", "vars", "breakpoint"),
    *("exit", "quit", "help", "memoryview", "super", "type", "print"),
}
CALCULATING = {
    *("abs", "len", "round", "sorted", "set", "frozenset", "list", "tuple", "dict", "sum", "min", "max", "str", "int", "float"),
    *("bool", "all", "any", "repr", "range", "isinstance"),
}
BUILTINS = set(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__)
FUNCTIONS = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)


class Plan:
    """A test, ready to run: `code` and `setup` compiled, the names it may ask the code for, calls that can be made ahead."""

    def __init__(self, setup: str, tests: str, entry: str | None) -> None:
        before, after = ast.parse(setup), ast.parse(tests)
        self.setup, self.code = compile(before, "<setup>", "exec"), compile(after, TESTS, "exec")
        self.sent = marshal.dumps(self.setup)
        self.lines = tests.splitlines()
        self.asserts = {node.lineno: node for node in ast.walk(after) if isinstance(node, ast.Assert)}
        nodes = [*ast.walk(before), *ast.walk(after)]
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        self.forks = not _tame(nodes)
        self.check = entry is not None and any(isinstance(node, FUNCTIONS[0]) and node.name == "check" for node in after.body)
        own = _bound(before) | _bound(after)
        self.wanted = sorted((used | ({entry} if entry else set())) - BUILTINS - (own - {entry}))
        callable_ = {name: name for name in used - own - BUILTINS}
        if entry:
            callable_[entry] = entry
        self.ahead, self.whole = _ahead(_head(after, self.check, entry, callable_))
        self.whole = self.whole and not self.forks
        self.called = sorted({name for name, _ in self.ahead} | ({entry} if entry and self.check else set()) | (PURE & set(self.wanted)))

    def source(self, line: int) -> Any:
        """The assertion that stands at a line, on one line; else the line."""
        node = self.asserts.get(line)
        text = ast.unparse(node) if node is not None else self.lines[line - 1].strip() if 0 < line <= len(self.lines) else ""
        return text if len(text) <= 300 else text[:297] + "..."


@functools.lru_cache(maxsize=512)
def plan(setup: str, tests: str, entry: str | None) -> Any:
    """The plan of a test. SyntaxError and its like where it is no Python."""
    return Plan(setup, tests, entry)


def _tame(nodes: list[ast.AST]) -> Any:
    """Whether code only computes: nothing of it stays behind in a process that goes on."""
    modules = {alias.asname or alias.name for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.Import):
            if any(alias.name.split(".")[0] not in PURE for alias in node.names):
                return False
        elif isinstance(node, ast.ImportFrom):
            if node.level or (node.module or "").split(".")[0] not in PURE:
                return False
        elif isinstance(node, ast.Name):
            if node.id in DENIED or (node.id.startswith("__") and node.id != "__name__"):
                return False
        elif isinstance(node, ast.Attribute):
            if node.attr.startswith("_") or (not isinstance(node.ctx, ast.Load) and not _own(node.value, modules)):
                return False
        elif isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.Global, ast.Yield, ast.YieldFrom)):
            return False
    return True


def _bound(tree: ast.Module) -> set[str]:
    """The names that a module's top binds."""
    found = set()
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, FUNCTIONS):
            found.add(node.name)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        stack.extend(ast.iter_child_nodes(node))
    return found


def _own(node: Any, modules: set[str]) -> Any:
    return isinstance(node, ast.Name) and node.id not in modules


def _head(tree: Any, check: Any, entry: str | None, names: Any) -> Any:
    """(statements in the order in which they run, the names under which they call the code)."""
    if not check:
        return tree.body, names
    function = next(node for node in reversed(tree.body) if isinstance(node, ast.FunctionDef) and node.name == "check")
    if len(function.args.args) != 1 or not all(_quiet(node) for node in tree.body):
        return None, {}
    return function.body, {function.args.args[0].arg: entry}


def _quiet(node: Any) -> Any:
    """A statement that calls nothing: a definition, a docstring, an import, an assignment of a literal."""
    if isinstance(node, ast.Assign):
        return _literal(node.value) is not None
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, (ast.FunctionDef, ast.Import, ast.ImportFrom, ast.Pass)) and not getattr(node, "decorator_list", ())


def _ahead(head: Any) -> Any:
    """[(name, packed arguments)] of the calls that the head of a test makes whatever they give, and whether it makes no others."""
    statements, names = head
    calls: list[Any] = []
    if statements is None:
        return calls, False
    for node in statements:
        if _quiet(node) and not isinstance(node, ast.FunctionDef):
            continue
        found: list[Any] = []
        if not isinstance(node, ast.Assert) or not _simple(node.test, names, found):
            return calls, False
        if node.msg is not None and not isinstance(node.msg, ast.Constant):
            return calls, False
        calls += found
    return calls, True


def _simple(node: Any, names: Any, found: Any) -> Any:
    """Whether an expression evaluates every part of it once, from left to right, over literals, calls of the code and sums."""
    if isinstance(node, ast.Call):
        if node.keywords:
            return False
        if _mathematics(node.func):
            return all(_simple(argument, names, found) for argument in node.args)
        if not isinstance(node.func, ast.Name):
            return False
        if node.func.id in names:
            values = [_literal(argument) for argument in node.args]
            if None in values:
                return False
            try:
                packer = Packer(_refuse)
                found.append((names[node.func.id], [packer.pack(value) for (value,) in values]))
            except (TypeError, RecursionError):
                return False
            return True
        return node.func.id in CALCULATING and all(_simple(argument, names, found) for argument in node.args)
    if isinstance(node, ast.Compare):
        return len(node.ops) == 1 and _simple(node.left, names, found) and _simple(node.comparators[0], names, found)
    if isinstance(node, ast.BinOp):
        return _simple(node.left, names, found) and _simple(node.right, names, found)
    if isinstance(node, ast.UnaryOp):
        return _simple(node.operand, names, found)
    if isinstance(node, ast.Name):
        return node.id in CLASSES
    return _literal(node) is not None


def _mathematics(node: Any) -> Any:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("math", "cmath")


CLASSES = {"int", "float", "str", "bool", "list", "tuple", "dict", "set", "frozenset", "bytes", "complex"}


def _literal(node: Any) -> Any:
    """(value,) of a literal, None of anything else."""
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError, RecursionError, SyntaxError, MemoryError):
        return None


def _refuse(packer: Packer, value: Any) -> None:
    raise TypeError(type(value).__name__)
