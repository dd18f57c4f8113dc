"""One text of tests taken apart into its single tests, so that the share of them that passes can be counted."""

from __future__ import annotations

import ast
import copy

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def units(tree: ast.Module, check: str | None = None) -> list[ast.Module]:
    """The tests one by one: each statement that holds an assertion (or calls a function of the tests that does), with the
    statements around it that hold none.

    `check`: the statements of this function are taken apart, else those of the top level. An earlier assertion stays, unable
    to fail, where both speak of a name that the tests bind, since it may change what that name holds. Tests that cannot be
    taken apart (an earlier loop of assertions binds a name that a later one uses) are one unit.
    """
    body = _body(tree, check)
    own_tests = {
        node.name for node in tree.body if isinstance(node, _Function) and any(isinstance(part, ast.Assert) for part in ast.walk(node))
    }
    tests = [index for index, statement in enumerate(body) if holds_assertion(statement) or _calls(statement, own_tests)]
    if len(tests) < 2 or _entangled(body, tests):
        return [tree]
    own = set().union(*(_stored(statement) for index, statement in enumerate(body) if index not in tests))
    made = []
    for one in tests:
        kept: list[ast.stmt] = []
        for index, statement in enumerate(body):
            if index not in tests or index == one:
                kept.append(statement)
            elif index < one and _names(statement) & _names(body[one]) & own:
                kept.append(_harmless(statement))
        made.append(_with_body(tree, check, kept))
    return made


def _body(tree: ast.Module, check: str | None) -> list[ast.stmt]:
    if check is None:
        return tree.body
    return next(node.body for node in reversed(tree.body) if isinstance(node, _Function) and node.name == check)


def _with_body(tree: ast.Module, check: str | None, body: list[ast.stmt]) -> ast.Module:
    if check is None:
        return ast.Module(body, [])
    last = max(index for index, node in enumerate(tree.body) if isinstance(node, _Function) and node.name == check)
    function = copy.copy(tree.body[last])
    assert isinstance(function, _Function)
    function.body = body
    return ast.Module([*tree.body[:last], function, *tree.body[last + 1 :]], [])


def _calls(statement: ast.stmt, functions: set[str]) -> bool:
    """Whether a statement is a call of one of the tests' own functions."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in functions


def holds_assertion(statement: ast.stmt) -> bool:
    """Whether an assertion runs where the statement does."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return False  # a function's assertions fail where it is called
    return any(isinstance(node, ast.Assert) for node in ast.walk(statement))


def _names(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def _stored(statement: ast.stmt) -> set[str]:
    """Names that a statement binds (imports and definitions hold no state that a test changes)."""
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _entangled(body: list[ast.stmt], tests: list[int]) -> bool:
    bound: set[str] = set()
    for index, statement in enumerate(body):
        loaded = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        if loaded & bound - _stored(statement):
            return True
        if index in tests:
            bound |= _stored(statement)
        else:
            bound -= _stored(statement)
    return False


def _harmless(statement: ast.stmt) -> ast.stmt:
    caught = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
    return ast.Try([statement], [caught], [], [])
