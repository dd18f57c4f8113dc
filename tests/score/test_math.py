"""The math verifier on real solutions, on every way to write a number, and on comparisons that would hang."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from engine.operators import Journal
from engine.score import Answer, make
from engine.score.verify import verdicts
from engine.spec import Scorer
from engine.step import Silent

GSM8K = Path(__file__).parents[2] / ".." / "shared" / "data" / "gsm8k_test.jsonl"


@pytest.fixture(scope="module")
def verifier():
    made = make(Scorer(verifier="math"))
    yield made
    made.close()


@pytest.mark.skipif(not GSM8K.is_file(), reason="needs ../shared/data/gsm8k_test.jsonl")
def test_every_gold_answer_is_right_and_every_one_off_is_wrong(verifier):
    for line in GSM8K.read_text().splitlines():
        solution = json.loads(line)["answer"]
        head, reference = solution.split("####")
        reference = reference.strip()
        assert verifier.verify(Answer(solution, reference)) == (1.0, "right", None, None), solution
        off = str(int(reference.replace(",", "")) + 1)
        assert verifier.verify(Answer(f"{head}#### {off}", reference)).verdict == "wrong", solution
    assert verifier._comparer._child is None, "plain numbers must not need math-verify"


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        (" 18+5=23. 23-6=17. Answer: 17", "17"),
        ("#### 1,234", "1234"),
        ("so #### 70000 or", "70,000"),
        ("The answer is $1,234.50.", "1234.5"),
        ("the answer is **42** apples", "42"),
        ("The answer is 5 out of 10.", "5"),
        ("answer is 3. Because 4 > 2", "3"),
        ("I had 3 and then 5", "5"),
        ("it is -5", "-5"),
        ("Answer: −5", "-5"),
        ("5-3=2", "2"),
        (r"\boxed{\frac{1}{2}}", "0.5"),
        ("it is 3/4.", "0.75"),
        ("answer is 0.333333", "1/3"),
        ("answer is 20%", "20"),
        ("answer is 20%", "0.2"),
        ("answer is 5kg", "5"),
        (r"\boxed{3} no, \boxed{4}", "4"),
        (r"The final answer is: $\boxed{-7}$", "-7"),
        ("Answer:\n42", "42"),
    ],
)
def test_right_plain_numbers(verifier, response, reference):
    assert verifier.verify(Answer(response, reference)) == (1.0, "right", None, None)


@pytest.mark.parametrize(
    ("response", "reference", "verdict"),
    [
        ("Answer: 51", "52", "wrong"),
        ("The answer is 5, not 6", "6", "wrong"),
        ("answer is 0.33", "1/3", "wrong"),
        ("answer is 20%", "2", "wrong"),
        ("#### 18.5", "18", "wrong"),
        ("12345678", "12345679", "wrong"),
        ("no number here", "3", "unparseable"),
        ("", "3", "unparseable"),
        ("5", "", "error"),
    ],
)
def test_what_is_not_right(verifier, response, reference, verdict):
    value, found, detail, _ = verifier.verify(Answer(response, reference))
    assert (value, found) == (0.0, verdict) and detail


@pytest.mark.parametrize(
    ("response", "reference", "verdict"),
    [
        (r"The answer is 2\sqrt{3}.", r"2\sqrt{3}", "right"),
        (r"so \boxed{x^2+1}", "1+x^2", "right"),
        (r"\boxed{(1, 2)}", "(1,2)", "right"),
        ("answer is 3x+2", "3", "wrong"),
        ("answer is 2^3", "8", "right"),
        ("Answer: $x=5$", "5", "right"),
        (r"\boxed{\sqrt{2}}", r"\sqrt{3}", "wrong"),
        ("Pairs", "Paris", "error"),
    ],
)
def test_what_math_verify_decides(verifier, response, reference, verdict):
    assert verifier.verify(Answer(response, reference)).verdict == verdict


def test_a_comparison_that_hangs_is_killed_and_the_next_one_works():
    verifier = make(Scorer(verifier="math", params={"timeout": 0.5}))
    try:
        found = verifier.verify(Answer(r"\boxed{9^{9^{9^{9}}}}", "3"))
        assert (found.value, found.verdict) == (0.0, "timeout")
        assert verifier._comparer._child is None
        verifier._comparer.timeout = 60
        assert verifier.verify(Answer(r"\boxed{\sqrt{4}}", "2")).verdict == "right"
        child = verifier._comparer._child
    finally:
        verifier.close()
    assert child.poll() is not None


def test_comparisons_that_hang_lose_none_of_the_others(tmp_path):
    """Two of them among the rows of one batch: every row has its own verdict, in order, and the journal holds them all."""
    hangs = r"\boxed{9^{9^{9^{9}}}}"
    rows = [
        (r"\boxed{\sqrt{4}}", "2", "right"),
        (hangs, "3", "timeout"),
        ("#### 7", "7", "right"),
        (r"\boxed{\sqrt{2}}", r"\sqrt{3}", "wrong"),
        ("nothing", "3", "unparseable"),
        (hangs, "4", "timeout"),
        (r"\boxed{x^2+1}", "1+x^2", "right"),
    ]
    table = pa.table(
        {
            "key": [f"k{i}" for i in range(len(rows))],
            "response": [row[0] for row in rows],
            "reference": [row[1] for row in rows],
            "prompt": pa.nulls(len(rows), pa.string()),
            "meta": pa.nulls(len(rows), pa.string()),
        }
    )
    verifier = make(Scorer(verifier="math", params={"timeout": 2}))
    try:
        found = verdicts(verifier, table, tmp_path, Silent(), "scores_math").to_pylist()
    finally:
        verifier.close()
    assert [(row["key"], row["verdict"]) for row in found] == [(f"k{i}", row[2]) for i, row in enumerate(rows)]
    assert [row["value"] for row in found] == [float(row[2] == "right") for row in rows]
    assert found[1]["detail"] == "no result after 2 s"
    assert sum(batch.num_rows for batch in Journal(tmp_path).batches()) == len(rows)
