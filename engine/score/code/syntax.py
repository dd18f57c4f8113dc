"""What a piece of Python defines and calls, read without running it. No text of a model's can raise here."""

from __future__ import annotations

import ast
import builtins
import warnings

# longer texts are not compiled in this process: the compiler's time and stack grow with them
LONGEST = 200_000
_BUILTINS = frozenset(dir(builtins))


def parsed(code: str) -> ast.Module | None:
    """The syntax tree of code that compiles, else None."""
    if len(code) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
            # ast.parse lets a `return` outside of a function pass
            compile(code, "<answer>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    return tree


def defined(tree: ast.Module) -> set[str]:
    """Names that the top level binds: functions, classes, assignments, imports; also below `if` and `try`."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            waiting += ast.iter_child_nodes(node)
    return found


def defines(code: str, names: frozenset[str] | set[str]) -> bool:
    """Whether code that compiles binds one of `names` at its top level."""
    tree = parsed(code)
    return tree is not None and bool(defined(tree) & names)


def called(tree: ast.Module) -> set[str]:
    """Names that a test text calls and neither binds itself nor finds among the builtins: what an answer has to define."""
    names = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names - defined(tree) - bound - _BUILTINS


def method_class(code: str, name: str) -> str | None:
    """The last top-level class of the code that has a method `name`, where no top-level function is called so."""
    tree = parsed(code)
    if tree is None or name in defined(tree):
        return None
    found = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(isinstance(part, ast.FunctionDef) and part.name == name for part in node.body)
    ]
    return found[-1] if found else None
