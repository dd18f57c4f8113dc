"""What monty is given: programs of a small part of Python, in which the code cannot reach what judges it.

Top-level functions and constants over whitelisted syntax, builtins, methods and modules; no classes, no attribute that is
set, no name of a builtin, of the setup or of the tests.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

from engine.score.sandbox import Program

LONGEST = 16_384  # characters of code that are parsed in this process
MODULES = {"math", "typing"}
BUILTINS = {
    *("abs", "all", "any", "bool", "chr", "dict", "divmod", "enumerate", "filter", "float", "frozenset", "int", "isinstance"),
    *("len", "list", "map", "max", "min", "ord", "pow", "print", "range", "reversed", "round", "set", "sorted", "str", "sum"),
    *("tuple", "zip", "True", "False", "None"),
}
METHODS = {
    *("append", "extend", "insert", "pop", "remove", "clear", "index", "count", "sort", "reverse", "copy"),
    *("keys", "values", "items", "get", "setdefault", "update", "add", "discard", "union", "intersection", "difference"),
    *("issubset", "issuperset", "isdisjoint", "lower", "upper", "strip", "lstrip", "rstrip", "split", "join", "replace"),
    *("startswith", "endswith", "find", "rfind", "isdigit", "isalpha", "isalnum", "islower", "isupper", "isspace", "title"),
    *("capitalize", "swapcase", "splitlines", "zfill"),
}
MATHEMATICS = {"sqrt", "floor", "ceil", "pi", "e", "gcd", "factorial", "isclose", "inf", "log", "log2", "log10", "sin", "cos", "tan"}
MATHEMATICS |= {"pow", "fabs", "isqrt", "prod", "exp", "hypot", "comb", "isnan", "isinf", "trunc"}
NODES = (
    *(ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.While),
    *(ast.If, ast.Assert, ast.Expr, ast.Pass, ast.Break, ast.Continue, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Lambda, ast.IfExp),
    *(ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Compare, ast.Call),
    *(ast.keyword, ast.Constant, ast.Attribute, ast.Subscript, ast.Name, ast.List, ast.Tuple, ast.Slice, ast.Import, ast.ImportFrom),
    *(ast.alias, ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop),
)
PLAIN = {int, float, str, bool, type(None)}
SPECIAL = {ast.Attribute, ast.arg, ast.FunctionDef, ast.Import, ast.ImportFrom}
MARKS = {"ctx", "op", "ops", "kind", "type_comment"}  # fields that hold operators and the like, all of which monty has
_ALLOWED: dict[type, tuple[str, ...]] = {}


def unfit(program: Program) -> str | None:
    """Why monty is not to run a program; None where it may."""
    if program.tests is None or program.stdin is not None:
        return "it is a script"
    if len(program.code) > LONGEST:
        return "it is long"
    own, reason = _names(program.setup, False)
    if reason:
        return f"its setup has {reason}"
    asked, reason = _tests(program.tests)
    if reason:
        return f"its tests have {reason}"
    if program.entry is not None and "check" not in asked:
        return "its tests have no function check"
    found = _Look()
    reason = found.read(program.code, True)
    if reason:
        return f"it has {reason}"
    # nothing that the code makes or reads may be the setup's constant, the tests' or Python's own
    if found.made & (own | asked | BUILTINS) or found.used & asked:
        return "a name of the setup, of the tests or of Python's own"
    if found.used - found.local - found.made - own - BUILTINS:
        return "a name that nothing makes"
    return None


@lru_cache(maxsize=512)
def _names(setup: str, constants: bool) -> tuple[frozenset[str], str | None]:
    """The names that a setup makes, or what it has that monty is not to run."""
    found = _Look()
    reason = found.read(setup, constants)
    return frozenset(found.made), reason


@lru_cache(maxsize=512)
def _tests(tests: str) -> tuple[frozenset[str], str | None]:
    """The names that tests make at their top, or what they have that monty is not to run."""
    found = _Look()
    reason = found.read(tests, True, tests=True)
    return frozenset(found.made), reason


class _Look:
    """Reads Python: `made` are the names of its top, `used` all that it reads, `local` those of its functions."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.used: set[str] = set()
        self.local: set[str] = set()

    def read(self, text: str, constants: bool, tests: bool = False) -> str | None:
        """What keeps it from monty; None where nothing does."""
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return "no Python"
        for statement in tree.body:
            reason = self._top(statement, constants, tests)
            if reason:
                return reason
        try:
            return self._walk(tree)
        except RecursionError:
            return "deep nesting"

    def _top(self, node: ast.stmt, constants: bool, tests: bool) -> str | None:
        if isinstance(node, ast.FunctionDef):
            self.made.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            for alias in node.names:
                if (module or alias.name) not in MODULES or alias.asname is not None or alias.name == "*":
                    return f"an import of {module or alias.name}"
                if module == "math" and alias.name not in MATHEMATICS:
                    return f"math.{alias.name}"
                self.made.add(alias.name)
        elif isinstance(node, ast.Assign) and constants:
            for target in node.targets:
                if not isinstance(target, ast.Name):
                    return "an assignment to more than a name"
                self.made.add(target.id)
        elif tests:
            # what a loop of the tests binds is a name of the tests too
            self.made |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return f"a {type(node).__name__} at its top"
        return None

    def _walk(self, tree: ast.Module) -> str | None:
        # ast.walk costs three times as much, and this is most of what tier 1 costs
        stack: list[Any] = [tree]
        used, local, allowed = self.used, self.local, _ALLOWED
        while stack:
            node = stack.pop()
            kind = type(node)
            if kind is ast.Name:
                (used if type(node.ctx) is ast.Load else local).add(node.id)
                continue
            if kind is ast.Constant:
                if type(node.value) not in PLAIN:
                    return f"a constant {node.value!r}"
                continue
            fields = allowed.get(kind)
            if fields is None:
                if not issubclass(kind, NODES):
                    return f"a {kind.__name__}"
                fields = allowed[kind] = tuple(name for name in kind._fields if name not in MARKS)
            if kind in SPECIAL:
                reason = self._own(node, kind, tree)
                if reason:
                    return reason
            for name in fields:
                value = getattr(node, name)
                if type(value) is list:
                    stack += value
                elif isinstance(value, ast.AST):
                    stack.append(value)
        return None

    def _own(self, node: Any, kind: type, tree: ast.Module) -> str | None:
        """What one node of certain kinds has against monty."""
        if kind is ast.Attribute:
            return _attribute(node)
        if kind is ast.arg:
            self.local.add(node.arg)
        elif kind is ast.FunctionDef:
            if node.decorator_list:
                return "a decorator"
            self.local.add(node.name)
        elif kind in (ast.Import, ast.ImportFrom) and node not in tree.body:
            return "an import that is not at its top"
        return None


def _attribute(node: ast.Attribute) -> str | None:
    if not isinstance(node.ctx, ast.Load):
        return "an attribute that is set"
    if isinstance(node.value, ast.Name) and node.value.id == "math":
        return None if node.attr in MATHEMATICS else f"math.{node.attr}"
    return None if node.attr in METHODS else f".{node.attr}"
