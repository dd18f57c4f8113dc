"""Picker `consensus`: the rule of Ensemble-Instruct with the catalogue's numbers, its candidates and its selection."""

from __future__ import annotations

import json
import random
from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest

from engine.select.picked import PickStep
from engine.select.pickers.consensus import ConsensusParams, consensus
from engine.select.steps import SelectedStep
from engine.similarity import normalised
from engine.spec import Picker
from small_lake import SmallLake, spec

SAT, MAT, RAN, CAT = "the cat sat on the mat", "the cat sat on mat", "a dog ran", "cat on mat"


def agreed(*texts, **params):
    return consensus(texts, ConsensusParams(**params))


def reference(texts):
    """The rule for three answers, as the catalogue words it."""
    plain = [normalised(text) for text in texts]
    if plain[0] and plain[0] in plain[1:]:
        return 0
    return 1 if plain[1] and plain[1] == plain[2] else None


def test_the_catalogues_numbers():
    assert agreed(SAT, MAT, RAN) == (None, "too far apart", 0, 0.0, None)
    found = agreed(SAT, MAT, CAT)
    assert (found.place, found.rule) == (1, "medoid")
    assert (found.least, found.total) == (pytest.approx(0.6667, abs=5e-5), pytest.approx(1.6591, abs=5e-5))
    totals = [agreed(*order).total for order in permutations((SAT, MAT, CAT))]
    assert set(totals) == {found.total}
    assert agreed("Yes.", "no way", "yes").place == 0 and agreed("no way", "Yes.", "yes").place == 1


def test_three_answers_by_the_papers_wording():
    lot = random.Random(4)
    for _ in range(300):
        texts = [lot.choice(["yes", "Yes.", "no", "maybe", "?"]) for _ in range(3)]
        found = agreed(*texts)
        assert (found.place if found.rule == "equal" else None) == reference(texts)


def test_more_or_fewer_answers():
    assert agreed("a", "b", "a", "b", "b").place == 1  # the larger set, its first answer
    assert agreed("a", "b", "b", "a").place == 0
    assert agreed("one").rule == "too few" and agreed("a b", "a c", min_answers=3).rule == "too few"
    assert agreed("!", "?").place is None  # nothing but punctuation agrees with nothing
    assert agreed("a b c", "a b d").place == 0  # a tie of two goes to the first


def test_settings():
    assert agreed(SAT, MAT, CAT, min_pair=0.7).rule == "too far apart"
    assert agreed(SAT, MAT, CAT, min_pair=2 / 3).rule == "too far apart"  # strictly above
    assert agreed(SAT, MAT, similarity="exact").place is None and agreed(SAT, MAT, medoid=False).place is None
    assert agreed("running cats", "run cat").least == 1.0 and agreed("running cats", "run cat", stem=False).place is None


def run(small, params=None, one=None):
    entry = Picker(method="consensus", sql="candidates/consensus.sql", params=params or {})
    one = one or spec(select={"sql": "select/consensus.sql", "pickers": [entry.model_dump()]})
    step = PickStep(entry, (), small.folder / "spec.yaml")
    step.check(one, small.folder / "spec.yaml")
    small.keep(step.run(small.context(one)), 0)
    rows = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one)).rows["selected", "policy"]
    return {row["generation_id"]: row["reason"] for row in rows.to_pylist()}


def test_selection_says_why(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["p1", "p2", "p3"])
    small.answers(
        [*(("p1", t, 0.0) for t in ("no", "Yes.", "yes")), *(("p2", t, 0.0) for t in (SAT, MAT, CAT)), ("p3", SAT, 1.0), ("p3", RAN, 0.0)]
    )
    assert run(small) == {
        "p1-1": "2 of 3 answers are equal",
        "p2-1": "medoid of 3 answers, similarities sum to 1.6591, the least is 0.6667",
    }
    told = small.session(0).run("select detail from scores where item_id = 'p3-0' and scorer = 'consensus'").fetchall()
    assert json.loads(told[0][0])["rule"] == "too far apart"
    assert run(small, {"min_pair": 0.9}) == {"p1-1": "2 of 3 answers are equal"}


def test_actors_are_compared_by_their_first_answers_in_the_given_order(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["p1"])
    actors = ["ul2", "falcon", "falcon", "xxl"]
    texts = [CAT, SAT, RAN, MAT]
    small.answers([("p1", text, 0.0) for text in texts])
    rows = [
        {"generation_id": f"p1-{i}", "content_id": "c", "prompt_id": "p1", "sample": i, "actor": actor, "response": text}
        for i, (actor, text) in enumerate(zip(actors, texts, strict=True))
    ]
    small.put("generations", "rollout", rows)
    assert list(run(small, {"by": "actor"})) == ["p1-3"]
    file = small.session(0)
    from engine import sqlfile

    sql = sqlfile.read(sqlfile.find("candidates/consensus.sql"))
    found = file.table(sql.query(), sql.bind({"by": "actor", "actors": ["falcon", "xxl"]})).sort_by("place")
    assert found["item_id"].to_pylist() == ["p1-1", "p1-3", "p1-0"]


def test_order_of_rows_does_not_matter():
    rows = pa.table(
        {
            "item_id": [f"g{i}" for i in range(6)],
            "response": [SAT, CAT, MAT, "b", "a", "a"],
            "group": ["x", "x", "x", "y", "y", "y"],
            "place": [2, 0, 1, 0, 2, 1],
        }
    )
    from engine.select.pickers.consensus import Consensus

    made = Consensus(ConsensusParams()).pick(rows, np.zeros(6, np.uint64))
    assert made["value"].to_pylist() == [None, None, 1.0, None, None, 1.0]  # of equal answers the earlier place
