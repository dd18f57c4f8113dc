"""Measures that look at a prompt's answers together, or at earlier rounds: meteor, self_bleu, embedding_diversity, novelty."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

import pyarrow as pa
import pytest

from engine.errors import SpecError, StepError
from engine.score.measured import Measured
from engine.score.measures import columns_of, make
from engine.spec import Measure as Entry
from engine.spec import Scorer
from engine.step import Ref
from small_lake import SmallContext, SmallLake, spec

A, B, C = "the cat sat on the mat", "the cat lay on the mat", "dogs bark loudly"


@dataclass
class Context(SmallContext):
    """A small lake's context with a journal and the lake itself."""

    device: None = None

    @property
    def journal(self):
        return self.small.folder / "journal"

    @property
    def lake(self):
        return self.small.lake


def context(small, round_=0, **more):
    made = small.context(spec(**more), round_)
    return Context(made.small, made.spec, made.round, made.spec_path)


def answered(folder, answers, round_=0):
    """A lake whose round has these answers (prompt, text)."""
    small = SmallLake(folder)
    small.prompts(list(dict.fromkeys(prompt for prompt, _ in answers)), round_=round_)
    small.answers([(prompt, text, 0.0) for prompt, text in answers], round_=round_)
    return small


def run(small, method, round_=0, entry=None, **params):
    """Rows of scores by suffix and item."""
    made = Measured(entry or Entry(method=method, name="m", params=params)).run(context(small, round_))
    return {part.removeprefix("rollout/m"): {row["item_id"]: row for row in rows.to_pylist()} for (_, part), rows in made.rows.items()}


def values(small, method, suffix="", round_=0, **params):
    found = run(small, method, round_, **params)[suffix]
    return [found[item]["value"] for item in sorted(found)]


def near(*numbers):
    return [None if number is None else pytest.approx(number, abs=1e-6) for number in numbers]


def test_meteor_similarity_of_siblings(tmp_path):
    small = answered(tmp_path, [("p0", A), ("p0", B), ("p0", C), ("p1", A)])
    found = values(small, "meteor_similarity")
    assert found == near(0.806667 / 2, 0.806667 / 2, 0, None)
    assert sum(found[:3]) / 3 == pytest.approx(0.268889, abs=1e-6)
    assert values(small, "meteor_similarity", most=1) == near(0.806667, 0.806667, 0, None)


def test_meteor_similarity_with_answers_to_other_prompts(tmp_path):
    small = answered(tmp_path, [(f"p{i}", A) for i in range(4)] + [("p0", C)])
    assert values(small, "meteor_similarity", among="round", most=4)[0] == pytest.approx(0.997685, abs=1e-6)
    assert values(small, "meteor_similarity", among="round", most=4)[1] == 0.0  # C has nothing of the others
    many = values(small, "meteor_similarity", among="round", most=400)
    assert many[2] == pytest.approx(0.997685 * 3 / 4, abs=0.08)  # of p1's: three of the four answers of the others are A
    assert many == values(small, "meteor_similarity", among="round", most=400)
    alone = answered(tmp_path / "alone", [("p0", A), ("p0", B)])
    assert values(alone, "meteor_similarity", among="round") == [None, None]


def test_meteor_against_a_text_of_the_prompt(tmp_path):
    small = SmallLake(tmp_path)
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": B}]
    prompt = {"prompt_id": "p0", "split": "train", "messages": chat, "reference": A, "meta": json.dumps({"solution": C})}
    small.put("prompts", "train", [prompt])
    small.answers([("p0", A, 0.0), ("p0", A, 0.0), ("p0", C, 0.0)])
    assert values(small, "meteor") == near(0.997685, 0.997685, 0)
    assert values(small, "meteor", to="prompt") == near(0.806667, 0.806667, 0)
    assert values(small, "meteor", to="gold", gold="solution") == near(0, 0, 1 - 0.5 / 27)
    entry = Scorer(measure="meteor", name="m")
    assert [row["value"] for row in run(small, "", entry=entry)[""].values()] == near(0.997685, 0.997685, 0)
    with pytest.raises(StepError, match="prompt p0 has no text 'worked' in its meta"):
        values(small, "meteor", to="gold", gold="worked")
    with pytest.raises(SpecError, match="give `gold`"):
        make(Entry(method="meteor", params={"to": "gold"}))


def test_meteor_needs_a_reference(tmp_path):
    small = SmallLake(tmp_path)
    small.put("prompts", "train", [{"prompt_id": "p0", "split": "train", "messages": [{"role": "user", "content": B}]}])
    small.answers([("p0", A, 0.0)])
    with pytest.raises(StepError, match="prompt p0 has no reference"):
        values(small, "meteor")


def test_self_bleu(tmp_path):
    small = answered(tmp_path, [("p0", A)] * 3 + [("p1", A), ("p1", B), ("p2", A)])
    found = values(small, "self_bleu")
    assert found[:3] == [1.0, 1.0, 1.0] and found[5] is None
    assert 0 < found[3] == found[4] < 1
    assert values(small, "self_bleu", n=1)[3:5] == near(5 / 6, 5 / 6)


def vectors(small, items, numbers, space="answers"):
    small.put("embeddings", space, [{"item_id": i, "model": "m", "vector": v} for i, v in zip(items, numbers, strict=True)])


def test_embedding_diversity(tmp_path):
    small = answered(tmp_path, [("p0", A)] * 3 + [("p1", A), ("p1", B), ("p2", A)])
    items = ["p0-0", "p0-1", "p0-2", "p1-0", "p1-1", "p2-0"]
    vectors(small, items, [[2, 0, 0], [0, 3, 0], [0, 0, 1], [1, 0, 0], [0.5, 3**0.5 / 2, 0], [1, 1, 1]])
    assert values(small, "embedding_diversity", space="answers") == near(1, 1, 1, 0.5, 0.5, None)
    wanted = [3, 3, 3, 1.7548, 1.7548, 1]
    assert values(small, "embedding_diversity", "_vendi", space="answers") == pytest.approx(wanted, abs=5e-5)
    vectors(small, items[:4], [[1.0, 0.0]] * 4)
    assert values(answered(tmp_path / "same", [("p0", A)] * 3), "embedding_diversity") == near(0, 0, 0)
    with pytest.raises(StepError, match="answer p1-1 has no vector, as 2 of 6"):
        values(small, "embedding_diversity", space="answers")


def test_embedding_diversity_reads_what_its_vectors_come_from():
    assert make(Entry(method="embedding_diversity", params={"space": "answers"})).reads(spec(), 0) == [Ref("embeddings", "answers")]
    own = make(Entry(method="embedding_diversity", params={"embedder": "hidden_state"}))
    assert own.reads(spec(), 0) == [Ref("policy")] and own.on_device
    assert not make(Entry(method="embedding_diversity")).on_device
    assert columns_of(Entry(method="embedding_diversity", name="far")) == ["far", "far_vendi"]


def past(folder):
    """Rounds 0 and 1 with answers; round 2 asks p0 again and p2 for the first time."""
    small = SmallLake(folder)
    for round_, answers in ((0, [("p0", "a b c d"), ("p1", "x y z")]), (1, [("p1", "x y z w")]), (2, [("p0", "x y z"), ("p2", "a b c")])):
        small.prompts(list(dict.fromkeys(p for p, _ in answers)), round_=round_)
        small.answers([(p, text, 0.0) for p, text in answers], round_=round_)
    return small


def test_novelty_by_ngrams(tmp_path):
    small = past(tmp_path)
    found = run(small, "novelty", 2, n=2)[""]
    assert found["p0-0-r2"]["value"] == 0.0 and json.loads(found["p0-0-r2"]["detail"]) == {"nearest": "p1-0", "round": 0}
    assert found["p2-0-r2"]["value"] == pytest.approx(1 / 3)
    within = run(small, "novelty", 2, n=2, scope="prompt")[""]
    assert within["p0-0-r2"]["value"] == 1.0 and json.loads(within["p0-0-r2"]["detail"])["nearest"] == "p0-0"
    assert within["p2-0-r2"]["value"] == 1.0 and within["p2-0-r2"]["detail"] == "nothing to compare with"
    late = run(small, "novelty", 2, n=2, rounds=1)[""]
    assert late["p0-0-r2"]["value"] == pytest.approx(1 / 3) and late["p2-0-r2"]["value"] == 1.0
    assert values(small, "novelty", n=2) == [1.0, 1.0]  # round 0 has no past


def test_novelty_against_what_trained(tmp_path):
    small = past(tmp_path)
    talk = [{"role": "user", "content": "ask", "origin": "prompt", "weight": 0.0}]
    answer = {"role": "assistant", "content": "a b c", "origin": "gold", "weight": 1.0}
    small.put("selected", "policy", [{"row_id": "r", "prompt_id": "p0", "messages": [*talk, answer], "weight": 1.0, "origin": "gold"}], 1)
    found = run(small, "novelty", 2, against="selected", n=2)[""]
    assert found["p2-0-r2"]["value"] == 0.0 and json.loads(found["p2-0-r2"]["detail"]) == {"nearest": "r", "round": 1}
    assert found["p0-0-r2"]["value"] == 1.0


def test_novelty_by_vectors(tmp_path):
    small = past(tmp_path)
    found = values(small, "novelty", round_=2, similarity="embedding")
    assert found[0] == pytest.approx(0, abs=1e-5) and 0 < found[1] < 1
    assert values(small, "novelty", round_=2, similarity="embedding", scope="prompt")[1] == 1.0
    measure = make(Entry(method="novelty", params={"similarity": "embedding", "embedder": "hidden_state"}))
    assert measure.on_device and Ref("policy") in measure.reads(spec(), 0)
    assert make(Entry(method="novelty")).reads(spec(), 0) == [Ref("generations", "rollout", "history")]


METHODS = ["meteor_similarity", "self_bleu", "embedding_diversity", "novelty", "meteor"]


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_rows_does_not_matter(tmp_path, method):
    lot = random.Random(1)
    answers = [(f"p{i % 4}", " ".join(lot.choices("abcdef", k=lot.randrange(3, 12)))) for i in range(24)]
    small = answered(tmp_path, answers, round_=1)
    small.answers([(f"p{i}", "a b c d e f a b", 0.0) for i in range(4)], round_=0)
    measure = make(Entry(method=method))
    from engine.score.measured import answered as read

    ctx = context(small, 1)
    rows = read(ctx, "rollout", "m")
    order = list(range(rows.num_rows))
    lot.shuffle(order)
    once, again = measure.measure(ctx, rows), measure.measure(ctx, rows.take(pa.array(order)))
    for suffix in measure.outputs:
        left, right = (dict(zip(t["item_id"].to_pylist(), t["value"].to_pylist(), strict=True)) for t in (once[suffix], again[suffix]))
        assert left == right and None not in left.values()


@pytest.mark.parametrize("method", METHODS[:-1])
def test_what_looks_at_more_than_one_answer_cannot_score_held_out_ones(method):
    from engine.score.measures import check_per_answer

    with pytest.raises(SpecError, match="looks at more than one answer"):
        check_per_answer(Scorer(measure=method))
