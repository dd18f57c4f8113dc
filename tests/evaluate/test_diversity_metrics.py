"""Held-out diversity: distinct-n, self-BLEU as the measure has it, entropy of final answers."""

from __future__ import annotations

import math
import random

import pyarrow as pa
import pytest

from engine.errors import SpecError
from engine.evaluate import answers_schema, check
from engine.evaluate.metrics import Metrics
from engine.score.likeness.bleu import self_bleu
from small_lake import spec


def values(metric, *prompts, verdicts=None):
    """The metric of each prompt, whose answers are texts."""
    rows = [
        {"prompt_id": f"p{i}", "generation_id": f"g{i}-{k}", "sample": k, "content_id": text, "response": text, "score": 0.0}
        | {"verdict": verdicts[i][k] if verdicts else "wrong"}
        for i, texts in enumerate(prompts)
        for k, text in enumerate(texts)
    ]
    found = Metrics(pa.Table.from_pylist(rows, schema=answers_schema([]))).values(metric)
    return [found[f"p{i}"] for i in range(len(prompts))]


def test_distinct_n():
    assert values("distinct_n@1", ["a b a b", "a b c"]) == [pytest.approx(3 / 7)]
    assert values("distinct_n@2", ["a b a b", "a b c"], ["a", ""]) == [pytest.approx(3 / 5), None]


def test_self_bleu_is_the_measures():
    assert values("self_bleu", ["a b c d e"] * 3, ["a b c d", "e f g h"], ["a b"], ["", "a"]) == [1.0, 0.0, None, 0.0]
    lot = random.Random(9)
    prompts = [[" ".join(lot.choices("abcdef", k=lot.randrange(0, 12))) for _ in range(lot.randrange(2, 6))] for _ in range(60)]
    wanted = [math.fsum(self_bleu(texts)) / len(texts) for texts in prompts]
    assert values("self_bleu", *prompts) == pytest.approx(wanted, abs=1e-10)


def test_entropy_of_final_answers():
    prompts = [["Answer: 1", "#### 1.0", "Answer: 2", "?"], ["Answer: 3", "Answer: 3"], ["?"]]
    verdicts = [["right", "right", "wrong", "unparseable"], ["wrong", "wrong"], ["unparseable"]]
    thirds = math.log(3) - 2 / 3 * math.log(2)
    assert values("answer_entropy", *prompts, verdicts=verdicts) == [pytest.approx(thirds), 0.0, None]


def test_a_spec_may_name_them():
    check(spec(evaluate={"samples": 4, "metrics": ["distinct_n@2", "self_bleu", "answer_entropy"]}))
    with pytest.raises(SpecError, match="'distinct_n' needs a k of 1 or more"):
        check(spec(evaluate={"metrics": ["distinct_n"]}))
