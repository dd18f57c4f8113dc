"""The tests of a prompt, read from its row: HumanEval's test function, MBPP's assertions, APPS' pairs of input and output."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from engine.params import Params
from engine.score.code.syntax import called, defined, parsed
from engine.score.code.units import holds_assertion

Tests = Literal["auto", "asserts", "stdin", "function"]
CHECK = "check"


class Untestable(Exception):
    """The row has no tests, or tests that cannot be used; says why."""


class Keys(Params):
    """Keys of the prompts' meta: columns of the data files that the prompt is not made of (or that prompts.fields.keep names)."""

    test: str = Field("test", description="text of tests: a function `check(candidate)` (HumanEval), or assertions")
    entry_point: str = Field("entry_point", description="name of the function that `check` gets")
    prompt: str = Field("prompt", description="the code that answers continue; where it is absent the prompt's last message is searched")
    test_list: str = Field("test_list", description="list of assertions, or their text (MBPP)")
    challenge: str = Field("challenge_test_list", description="further assertions, for `challenge: true`")
    setup: tuple[str, ...] = Field(("test_setup_code", "test_imports"), description="code that answer and tests both need: text or lists")
    pairs: str = Field(
        "input_output", description="{inputs, outputs} (and fn_name), or a list of {input, output}; lists or their JSON (APPS)"
    )


@dataclass(frozen=True)
class Pair:
    """What a program reads, and what it then has to print."""

    stdin: str
    expected: str


@dataclass(frozen=True)
class Task:
    """A prompt's tests: their `text` and its `tree` (with `check` the name of the test function), or pairs.

    `names` are those that an answer is expected to define, `entry` the one that the test function gets, `method` the function
    that may as well be a method of a class (APPS takes a `Solution`).
    """

    text: str = ""
    tree: ast.Module | None = None
    check: str | None = None
    pairs: tuple[Pair, ...] = ()
    setup: str = ""
    entry: str | None = None
    names: frozenset[str] = frozenset()
    method: str | None = None


def task_of(meta: Mapping[str, Any], reference: str | None, kind: Tests, keys: Keys, challenge: bool) -> Task:
    """The tests of one row. `reference`: text that holds them in place of meta. Untestable where there are none."""
    setup = "\n".join(_text(meta[key], key) for key in keys.setup if meta.get(key))
    if reference is not None:
        return _of_text(reference, meta.get(keys.entry_point), setup, kind)
    if kind in ("auto", "stdin") and meta.get(keys.pairs):
        return _of_pairs(_json(meta[keys.pairs], keys.pairs), keys.pairs, setup)
    if kind in ("auto", "function", "asserts") and meta.get(keys.test):
        return _of_text(_text(meta[keys.test], keys.test), meta.get(keys.entry_point), setup, kind)
    if kind in ("auto", "asserts") and meta.get(keys.test_list):
        texts = [_text(meta[keys.test_list], keys.test_list)]
        if challenge and meta.get(keys.challenge):
            texts.append(_text(meta[keys.challenge], keys.challenge))
        return _of_asserts("\n".join(texts), setup)
    wanted = {"stdin": [keys.pairs], "function": [keys.test], "asserts": [keys.test, keys.test_list]}
    names = ", ".join(map(repr, wanted.get(kind, [keys.test, keys.test_list, keys.pairs])))
    raise Untestable(f"the prompt has no tests: meta has none of the keys {names}")


def _of_text(text: str, entry: Any, setup: str, kind: Tests) -> Task:
    if kind in ("auto", "stdin") and text.lstrip()[:1] in ("{", "["):
        return _of_pairs(_json(text, "reference"), "reference", setup)
    tree = _tree(text)
    uses = [node for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    runs_itself = any(isinstance(use.value, ast.Call) and _is_check(use.value.func) for use in uses)
    if kind == "asserts" or CHECK not in defined(tree) or runs_itself:
        if kind == "function":
            raise Untestable(f"the tests define no function {CHECK!r} that waits to be called")
        return _of_asserts(text, setup)
    if not isinstance(entry, str) or not entry.isidentifier():
        raise Untestable(f"the tests are a function {CHECK!r}, and the row names no function for it: entry_point is {entry!r}")
    _asserting(tree)
    return Task(text, tree, CHECK, (), setup, entry, frozenset([entry]))


def _is_check(function: ast.expr) -> bool:
    return isinstance(function, ast.Name) and function.id == CHECK


def _of_asserts(text: str, setup: str) -> Task:
    tree = _tree(text)
    _asserting(tree)
    if not any(isinstance(statement, ast.Expr) or holds_assertion(statement) for statement in tree.body):
        # as pytest does; without their calls every answer would pass
        waiting = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test") and _bare(node)]
        if not waiting:
            raise Untestable("no assertion of the tests runs: they stand in functions or classes that nothing calls")
        text += "".join(f"\n{name}()" for name in waiting)
        tree = _tree(text)
    known = parsed(setup)
    if known is None:
        raise Untestable("the setup code of the tests is no Python")
    return Task(text, tree, None, (), setup, None, frozenset(called(tree) - defined(known)))


def _asserting(tree: ast.Module) -> None:
    if not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        raise Untestable("the tests hold no assertion")


def _bare(function: ast.FunctionDef) -> bool:
    """A function that is called without arguments."""
    given = function.args
    return not (given.posonlyargs or given.args or given.kwonlyargs or function.decorator_list)


def _of_pairs(found: Any, key: str, setup: str) -> Task:
    """APPS: {inputs, outputs} with texts, or with argument lists where `fn_name` names a function; else a list of {input, output}."""
    inputs: Any
    outputs: Any
    if isinstance(found, list):
        if not all(isinstance(one, dict) and "input" in one and "output" in one for one in found):
            raise Untestable(f"{key}: expected a list of {{input, output}}")
        inputs, outputs, name = [one["input"] for one in found], [one["output"] for one in found], None
    elif isinstance(found, dict):
        inputs, outputs = (found.get(f"{side}s", found.get(side)) for side in ("input", "output"))
        name = found.get("fn_name")
    else:
        raise Untestable(f"{key}: expected {{inputs, outputs}} or a list of {{input, output}}, found {found!r:.60}")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or not inputs or len(inputs) != len(outputs):
        raise Untestable(f"{key}: expected as many inputs as outputs, at least one")
    if name is None:
        return Task(pairs=tuple(Pair(_lines(one), _lines(other)) for one, other in zip(inputs, outputs, strict=True)), setup=setup)
    if not isinstance(name, str) or not name.isidentifier():
        raise Untestable(f"{key}: fn_name {name!r} is no name of a function")
    text = _calls(name, inputs, outputs)
    return Task(text, _tree(text), None, (), setup, None, frozenset([name]), name)


def _calls(name: str, inputs: list[Any], outputs: list[Any]) -> str:
    """Assertions for calls with argument lists, as APPS judges them: tuples are as good as lists, and so is what a list of one holds."""
    lines = [
        "def rondo_lists(value):",
        "    return [rondo_lists(one) for one in value] if isinstance(value, (list, tuple)) else value",
    ]
    for arguments, output in zip(inputs, outputs, strict=True):
        if not isinstance(arguments, list):
            raise Untestable(f"fn_name {name!r}: expected lists of arguments as inputs, found {arguments!r:.60}")
        call = f"rondo_lists({name}({', '.join(map(repr, arguments))}))"
        single = isinstance(output, list) and len(output) == 1
        lines.append(f"assert {call} in ({output!r}, {output[0]!r})" if single else f"assert {call} == {output!r}")
    return "\n".join(lines)


def _tree(text: str) -> ast.Module:
    tree = parsed(text)
    if tree is None:
        raise Untestable("the tests are no Python")
    return tree


def _json(value: Any, key: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise Untestable(f"{key}: no JSON ({error})") from error


def _text(value: Any, key: str) -> str:
    """Text, or a list of texts joined by newlines."""
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str) for part in parts):
        raise Untestable(f"{key}: expected text or a list of texts, found {value!r:.60}")
    return "\n".join(parts)


def _lines(value: Any) -> str:
    """A text, a list of lines (some rows of APPS), or a number as it is printed."""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
