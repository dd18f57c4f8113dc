"""Answers that are code: rows as MBPP, APPS and HumanEval have them, in the sandbox."""

import json
from collections import Counter

import pytest

from engine.errors import SpecError
from engine.score import Answer, make, verifiers, version
from engine.spec import Scorer

pytestmark = pytest.mark.usefixtures("jail")

ADD = "def add(a, b):\n    return a + b\n"
SUB = "def add(a, b):\n    return a - b\n"
MBPP = {"test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0", "assert add(2, 2) == 4"], "test_setup_code": ""}
HUMANEVAL = {
    "prompt": 'import math\n\n\ndef area(r: float) -> float:\n    """ Area of a circle.\n    >>> area(0)\n    0.0\n    """\n',
    "entry_point": "area",
    "test": "METADATA = {}\n\n\ndef check(candidate):\n    assert candidate(0) == 0\n    assert math.isclose(candidate(1), math.pi)\n",
}
DOUBLE = {"input_output": json.dumps({"inputs": ["3\n", "10\n", "-1\n"], "outputs": ["6\n", "20\n", "-2\n"]})}
CALLS = {"input_output": {"fn_name": "pair", "inputs": [[1, 2], [3, 3]], "outputs": [[[1, 2]], [3, 3]]}}


@pytest.fixture(scope="module")
def opened():
    """Verifiers by their settings: workers start once for the whole file."""
    made = {}
    yield lambda **params: made.setdefault(json.dumps(params), make(Scorer(verifier="code_tests", params=params)))
    for verifier in made.values():
        verifier.close()


@pytest.fixture
def judge(opened):
    def judged(response, meta, given=None, prompt=None, **params):
        return opened(**params).verify(Answer(response, given, prompt, meta))

    return judged


def test_assertions(judge):
    assert judge(ADD, MBPP)[:3] == (1.0, "right", None)
    assert judge(f"Sure:\n```python\n{ADD}```\nUse it so:\n```python\nprint(add(1, 2))\n```", MBPP).verdict == "right"
    wrong = judge(SUB, MBPP)
    assert wrong[:2] == (0.0, "wrong") and wrong.detail == "assert add(1, 2) == 3: found -1"
    assert wrong.runner in ("monty", "jail")


@pytest.mark.parametrize(
    ("response", "verdict", "detail"),
    [
        ("", "unparseable", "no code"),
        ("```python\n```", "unparseable", "no code"),
        ("def add(a, b) return a + b", "unparseable", ""),
        ("I do not know how.", "unparseable", ""),
        ("def plus(a, b):\n    return a + b", "wrong", "add"),
        ("def add(a, b):\n    return a + c", "wrong", "NameError"),
        ("def add(a, b):\n    raise ValueError('not today')", "wrong", "not today"),
        ("import nothing_of_this_name\n" + ADD, "wrong", "nothing_of_this_name"),
        ("1 / 0\n" + ADD, "wrong", "ZeroDivisionError"),
        ("def add(a, b):\n    while True: pass", "timeout", ""),
        ("while True: pass", "timeout", ""),
        ("def add(a, b):\n    return [0] * 10 ** 10", "wrong", ""),
        ("import sys\nsys.exit(0)", "wrong", ""),
        ("import os\nos._exit(0)", "wrong", ""),
        ("class Equal:\n    def __eq__(self, other): return True\ndef add(a, b): return Equal()", "wrong", ""),
        ("def add(a, b):\n    return add(a, b)", "wrong", ""),
    ],
)
def test_verdicts(judge, response, verdict, detail):
    found = judge(response, MBPP, seconds=1.0)
    assert found.verdict == verdict, found
    assert found.value == 0.0 and detail in found.detail


def test_the_share_counts_each_test(judge):
    assert judge(ADD, MBPP, value="share")[:3] == (1.0, "right", None)
    found = judge(SUB, MBPP, value="share")
    assert found.value == pytest.approx(1 / 3) and found.verdict == "wrong"
    assert found.detail == "1 of 3 tests passed; test 1: assert add(1, 2) == 3: found -1"
    late = "def add(a, b):\n    while a == 2: pass\n    return a + b\n"
    found = judge(late, MBPP, value="share", seconds=1.0)
    assert (found.value, found.verdict) == (pytest.approx(2 / 3), "timeout")
    assert judge("def add(", MBPP, value="share")[:2] == (0.0, "unparseable")


def test_setup_and_challenge_tests(judge):
    meta = {
        "test_setup_code": "class Node:\n    def __init__(self, value):\n        self.value = value\n",
        "test_list": ["assert value_of(Node(3)) == 3"],
        "challenge_test_list": ["assert value_of(Node(-3)) == -3"],
    }
    positive = "def value_of(node):\n    return abs(node.value)\n"
    assert judge(positive, meta).verdict == "right"
    assert judge(positive, meta, challenge=True).verdict == "wrong"
    assert judge("def value_of(node):\n    return Node(node.value).value\n", meta, challenge=True).verdict == "right"


def test_classes_that_the_answer_defines(judge):
    code = "class Pair:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n\n"
    code += "def total(pairs):\n    return sum(p.a + p.b for p in pairs)\n"
    meta = {"test_list": ["assert total([Pair(1, 2), Pair(3, 4)]) == 10", "assert Pair(5, 6).b == 6"]}
    assert judge(code, meta).verdict == "right"
    assert judge(code, meta, value="share").value == 1.0
    assert judge(code.replace("p.a + p.b", "p.a"), meta, value="share").value == 0.5


def test_a_function_and_its_prompt(judge):
    body = "    square = r * r\n    return math.pi * square\n"
    for response in (body, body.lstrip(), HUMANEVAL["prompt"] + body, f"```python\ndef area(r):\n{body}```"):
        assert judge(response, HUMANEVAL).verdict == "right"
        meta = {key: HUMANEVAL[key] for key in ("entry_point", "test")}
        assert judge(response, meta, prompt=f"Complete this:\n\n{HUMANEVAL['prompt']}").verdict == "right"
    assert judge("    return r * r\n", HUMANEVAL).verdict == "wrong"
    assert "'area'" in judge("def volume(r):\n    return r ** 3\n", HUMANEVAL).detail
    assert judge("    return r * r\n", HUMANEVAL, value="share").value == 0.5


def test_functions_of_tests_are_called(judge):
    meta = {"test": "def test_one():\n    assert add(1, 2) == 3\n\ndef test_none():\n    assert add(0, 0) == 0\n"}
    assert judge(ADD, meta).verdict == "right"
    assert judge(SUB, meta).verdict == "wrong"
    assert judge(SUB, meta, value="share").value == 0.5


def test_input_and_output(judge):
    assert judge("print(2 * int(input()))", DOUBLE).verdict == "right"
    assert judge("import sys\nprint(2 * int(sys.stdin.read()), ' ')", DOUBLE).verdict == "right"
    found = judge("print(abs(2 * int(input())))", DOUBLE)
    assert (found.verdict, found.detail) == ("wrong", "test 3: line 1: found '2', expected '-2'")
    assert judge("print(abs(2 * int(input())))", DOUBLE, value="share").value == pytest.approx(2 / 3)
    assert judge("print(2 * int(input())); raise ValueError(1)", DOUBLE).verdict == "wrong"
    assert judge("print(6)\nimport time\nwhile True: pass", DOUBLE, seconds=1.0).verdict == "timeout"
    pairs = {"input_output": [{"input": ["1", "2"], "output": "0.333333"}]}
    third = "print(int(input()) / (int(input()) + 1))"
    assert judge(third, pairs).verdict == "wrong" and judge(third, pairs, tolerance=1e-4).verdict == "right"
    flood = judge("while True: print('6' * 10000)", DOUBLE, seconds=1.0)
    assert flood.verdict in ("wrong", "timeout")


def test_calls_with_argument_lists(judge):
    assert judge("def pair(a, b):\n    return (a, b)\n", CALLS).verdict == "right"
    assert judge("class Solution:\n    def pair(self, a, b):\n        return [a, b]\n", CALLS).verdict == "right"
    assert judge("def pair(a, b):\n    return (b, a)\n", CALLS).verdict == "wrong"
    assert judge("def pair(a, b):\n    return (b, a)\n", CALLS, value="share").value == 0.5


def test_tests_in_the_reference(judge):
    assert judge(ADD, {}, "assert add(1, 1) == 2", reference=True).verdict == "right"
    assert judge(SUB, {}, "assert add(1, 1) == 2", reference=True).verdict == "wrong"
    assert judge("print(input())", {}, '[{"input": "a", "output": "a"}]', reference=True).verdict == "right"
    whole = HUMANEVAL["test"] + "\ncheck(area)"
    assert (
        judge("import math\narea = lambda r: math.pi * r * r", {"test_setup_code": "import math"}, whole, reference=True).verdict == "right"
    )


@pytest.mark.parametrize(
    ("meta", "detail"),
    [
        ({}, "no tests: meta has none of the keys 'test', 'test_list', 'input_output'"),
        ({"test_list": ["assert add("]}, "the tests are no Python"),
        ({"test_list": ["add(1, 2)"]}, "hold no assertion"),
        ({"test": "def holds(f):\n    assert f(1, 2) == 3"}, "no assertion of the tests runs"),
        ({"test": "class Tests:\n    def test(self):\n        assert add(1, 2) == 3"}, "no assertion of the tests runs"),
        ({"test": "def check(candidate):\n    candidate(1, 2)", "entry_point": "add"}, "hold no assertion"),
        ({"test_list": 7}, "expected text or a list of texts"),
        ({"test": HUMANEVAL["test"]}, "names no function"),
        ({"input_output": "{"}, "no JSON"),
        ({"input_output": {"inputs": ["1"], "outputs": []}}, "as many inputs as outputs"),
        ({"input_output": {"inputs": ["1"], "outputs": ["x" * 70_000]}}, "raise `output`"),
        ({"test_list": ["assert add(1, 2) == 3"], "test_setup_code": "def"}, "setup code"),
    ],
)
def test_rows_without_usable_tests_are_errors(judge, meta, detail):
    found = judge(ADD, meta)
    assert found[:2] == (0.0, "error") and detail in found.detail


def test_broken_tests_are_errors_and_not_the_answers_fault(judge):
    found = judge(ADD, {"test_list": ["import nothing_of_this_name\nassert add(1, 2) == 3"]})
    assert found.verdict == "error", found


def test_no_verdict_depends_on_what_runs_beside_it_or_on_workers():
    rows = [(ADD, MBPP), (SUB, MBPP), ("def add(", MBPP), ("print(2 * int(input()))", DOUBLE), ("import os\nos._exit(0)", MBPP)] * 6
    rows += [("def add(a, b):\n    while True: pass", MBPP), ("print(input())", DOUBLE), (ADD, {})]
    answers = [Answer(response, None, None, meta) for response, meta in rows]
    found = []
    for workers in (1, 2, 4):
        verifier = make(Scorer(verifier="code_tests", params={"workers": workers, "seconds": 1.0}))
        made, seconds = verifier.verify_all(answers if workers != 2 else answers[::-1])
        # a timeout's detail says which clock ran out first
        found.append([(one.value, one.verdict) for one in (made if workers != 2 else made[::-1])])
        assert len(seconds) == len(answers)
        verifier.close()
        assert verifier.verify(answers[0]).verdict == "right"  # it may be used again
        verifier.close()
    assert found[0] == found[1] == found[2]
    counts = Counter(verdict for _, verdict in found[0])
    assert counts == {"right": 12, "wrong": 13, "unparseable": 6, "timeout": 1, "error": 1}


def test_what_it_asks_for_follows_its_settings():
    def fields(**params):
        return set(make(Scorer(verifier="code_tests", params=params)).fields())

    setup = {"test_setup_code", "test_imports"}
    assert fields() == setup | {"entry_point", "prompt", "test", "test_list", "input_output"}
    assert fields(tests="stdin") == setup | {"input_output"}
    assert fields(tests="asserts", challenge=True) == setup | {"test", "test_list", "challenge_test_list"}
    assert fields(reference=True, tests="asserts") == setup
    assert fields(keys={"test_list": "checks", "setup": []}, tests="asserts") == {"test", "checks"}
    one = make(Scorer(verifier="code_tests", params={"reference": True, "tests": "asserts"}))
    assert one.references and not one.prompts
    assert not make(Scorer(verifier="code_tests")).references


def test_the_version_leaves_out_workers():
    scorers = [Scorer(verifier="code_tests", params={"workers": n}) for n in (1, 2)] + [
        Scorer(verifier="code_tests", params={"seconds": 1})
    ]
    versions = [version(scorer, make(scorer)) for scorer in scorers]
    assert versions[0] == versions[1] != versions[2]


@pytest.mark.parametrize("params", [{"keys": {"tests": "x"}}, {"sandbox": "docker"}, {"seconds": 0}, {"tests": "doctest"}, {"workers": 0}])
def test_wrong_settings(params):
    with pytest.raises(SpecError):
        make(Scorer(verifier="code_tests", params=params))


def test_it_is_registered():
    assert {"code_tests", "sql_query"} <= set(verifiers.names())
