"""HumanEval's 164 tasks, where the data is at hand: every canonical solution is right, every planted bug is wrong."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from engine.score import Answer, make
from engine.spec import Scorer
from planted_bugs import in_plain_python, mutants

DATA = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "humaneval.jsonl.gz"
pytestmark = pytest.mark.skipif(not DATA.is_file(), reason="HumanEval is not beside the project (../shared/data)")
KEYS = ("prompt", "entry_point", "test")


@pytest.fixture(scope="module")
def rows(jail):
    with gzip.open(DATA, "rt") as file:
        found = [json.loads(line) for line in file]
    assert len(found) == 164
    return found


@pytest.fixture(scope="module")
def bugs(rows):
    """For each task the first change of its solution that fails its tests in plain Python, by an exception and not for time."""
    tests = [f"\n{row['test']}\ncheck({row['entry_point']})\n" for row in rows]
    waiting = [mutants(row["prompt"] + row["canonical_solution"], row["entry_point"], at) for at, row in enumerate(rows)]
    found = {}
    while len(found) < len(rows):
        tried = {at: next(waiting[at]) for at in range(len(rows)) if at not in found}
        fates = in_plain_python([code + tests[at] for at, (_, code) in tried.items()])
        found |= {at: mutant for (at, mutant), fate in zip(tried.items(), fates, strict=True) if fate == "wrong"}
    return [found[at] for at in range(len(rows))]


def verdicts(rows, responses, **params):
    verifier = make(Scorer(verifier="code_tests", params=params))
    answers = [
        Answer(response, None, row["prompt"], {key: row[key] for key in verifier.fields() if key in row})
        for row, response in zip(rows, responses, strict=True)
    ]
    try:
        return verifier.verify_all(answers)
    finally:
        verifier.close()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_canonical_solutions_are_right_and_planted_bugs_wrong(rows, bugs, workers):
    solutions = [row["canonical_solution"] for row in rows]
    assert len(set(Counter(kind for kind, _ in bugs)) & {"flip", "swap", "shift"}) == 3
    found, seconds = verdicts(rows + rows, solutions + [code for _, code in bugs], workers=workers)
    told = [(row["task_id"], verdict) for row, verdict in zip(rows + rows, found, strict=True)]
    assert [one for one in told[:164] if one[1].verdict != "right" or one[1].value != 1.0] == []
    assert [one for one in told[164:] if one[1].verdict != "wrong" or one[1].value != 0.0 or not one[1].detail] == []
    assert {verdict.runner for verdict in found} <= {"monty", "jail"}
    assert min(seconds) >= 0 and len(seconds) == 328


def test_completions_of_full_functions_and_of_bodies_agree_and_nothing_is_right_by_chance(rows):
    whole = [f"Here you are:\n```python\n{row['prompt']}{row['canonical_solution']}```\nDone." for row in rows]
    assert {verdict.verdict for verdict in verdicts(rows, whole)[0]} == {"right"}
    assert {verdict.verdict for verdict in verdicts(rows, ["    pass\n"] * 164)[0]} == {"wrong"}
    assert {verdict.verdict for verdict in verdicts(rows, [row["prompt"] for row in rows])[0]} == {"wrong"}
    assert {verdict.verdict for verdict in verdicts(rows, ["I would rather (not."] * 164)[0]} == {"unparseable"}


@pytest.mark.slow
def test_the_share_of_tests_that_pass(rows, bugs):
    # not all: a bug that fails its first test at once may run long on another
    some = slice(40, 120)
    right = verdicts(rows[some], [row["canonical_solution"] for row in rows[some]], value="share")[0]
    assert {(verdict.value, verdict.verdict) for verdict in right} == {(1.0, "right")}
    wrong = verdicts(rows[some], [code for _, code in bugs[some]], value="share")[0]
    assert {verdict.verdict for verdict in wrong} == {"wrong"} and all(0 <= verdict.value < 1 for verdict in wrong)
    assert len({verdict.value for verdict in wrong}) > 10
