"""logic: formulas as data sets write them, what follows from premises, and verdicts on labels, formulas and steps."""

import itertools
import random
import sys

import pytest

from engine.errors import SpecError
from engine.score import Answer, make
from engine.score.first_order.prover import GaveUp, Prover
from engine.score.first_order.syntax import Malformed, Node, parse
from engine.spec import Scorer

PREMISES = ["∀x (Cat(x) → Animal(x))", "∀x (Animal(x) → ¬Plant(x))", "Cat(tom)", "∃x (Dog(x) ∧ Loud(x))"]


def verify(response, conclusion="Animal(tom)", premises=PREMISES, **params):
    meta = {"premises": premises} | ({} if conclusion is None else {"conclusion": conclusion})
    return make(Scorer(verifier="logic", params=params)).verify(Answer(response, meta=meta))


@pytest.mark.parametrize(
    "text",
    [
        "∀x (Cat(x) → Animal(x))",
        "forall x (Cat(x) -> Animal(x))",
        "forall x. Cat(x) -> Animal(x)",
        "all x.(Cat(x) -> Animal(x))",
        "FORALL x: (Cat(x) => Animal(x))",
        "∀x Cat(x) ⇒ Animal(x)",
        "∀ x [Cat(x) implies Animal(x)]",
        "(((∀x ((Cat(x)) → (Animal(x))))))",
    ],
)
def test_one_formula_in_many_notations(text):
    cat, animal = (Node("predicate", name, (Node("variable", "x"),)) for name in ("Cat", "Animal"))
    assert parse(text) == Node("∀", "x", (Node("→", "", (cat, animal)),))


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("¬A & B", "(¬A) & B"),
        ("A & B | C", "(A & B) | C"),
        ("A -> B -> C", "A -> (B -> C)"),
        ("A | B -> C", "(A | B) -> C"),
        ("A <-> B -> C", "A <-> (B -> C)"),
        ("-A", "not A"),
        ("A xor B", "A ⊕ B"),
        ("∀x,y R(x,y)", "∀x ∀y R(x,y)"),
        ("∀x y (R(x,y))", "∀x ∀y R(x,y)"),
        ("∃x p(x)", "∃x (p(x))"),
        ("∀x ∃y (R(x, y))", "forall x. exists y. R(x, y)"),
        ("a != b", "¬(a = b)"),
        ("∃x ¬P(x)", "∃x (¬P(x))"),
        ("∃x P(x) & Q(x)", "∃x (P(x) & Q(x))"),
        ("∀x (P(x)) & Q(a)", "(∀x (P(x))) & Q(a)"),
        ("P(f(a, b), 3)", "P(f(a,b),3)"),
    ],
)
def test_what_binds_how_tightly(short, full):
    assert parse(short) == parse(full)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected a formula, found 'the end' at character 1"),
        ("Cat(tom", "expected ')', found 'the end' at character 8"),
        ("Cat tom", "expected the end, found 'tom' at character 5"),
        ("A &", "expected a formula, found 'the end'"),
        ("∀ (P(x))", "expected a variable, found '('"),
        ("∀x (P(x)) → Q(x)", "x stands outside of its quantifier"),
        ("∀x (x)", "x is a variable"),
        ("P(a) % Q(a)", "expected the end, found '%'"),
        ("P()", "expected a term"),
        ("(" * 500 + "A" + ")" * 500, "more than 60 levels"),
        ("~" * 500 + "A", "more than 60 levels"),
        ("A -> " * 500 + "A", "more than 60 levels"),
        ("A <-> " * 500 + "A", "more than 60 levels"),
        ("A" * 20_000, "at most 10,000"),
    ],
)
def test_texts_that_are_no_formulas(text, told):
    with pytest.raises(Malformed) as caught:
        parse(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("conclusion", "status"),
    [
        ("Animal(tom)", "entailed"),
        ("Plant(tom)", "refuted"),
        ("Dog(tom)", "unknown"),
        ("∃x Loud(x)", "entailed"),
        ("∀x (Cat(x) → ¬Plant(x))", "entailed"),
        ("¬∃x (Cat(x) ∧ Plant(x))", "entailed"),
        ("∃x (Cat(x) ∧ Plant(x))", "refuted"),
        ("Loud(tom) ⊕ ¬Loud(tom)", "entailed"),
        ("Cat(tim)", "unknown"),
        ("tim = tom → Cat(tim)", "entailed"),
    ],
)
def test_what_follows(conclusion, status):
    assert Prover(2_000_000, 30).status([parse(one) for one in PREMISES], parse(conclusion)) == status
    words = {"entailed": "True", "refuted": "False", "unknown": "Uncertain"}
    for said, word in words.items():
        found = verify(f"So the statement is {word}.", conclusion)
        assert found.verdict == ("right" if said == status else "wrong"), found


def test_a_long_chain_is_no_deep_tree():
    letters = [f"P{i}" for i in range(1200)]
    found = parse(" & ".join(letters))
    assert len(found.parts) == 1200 and Prover(2_000_000, 30).follows([found], parse("P7 & P1199"))
    assert verify("P1\n```\nP7\n```", None, [" & ".join(letters)], answer="formula").verdict == "right"


def test_the_prover_agrees_with_truth_tables():
    """Random propositional formulas over three letters against all eight valuations."""
    generator = random.Random(3)

    def grow(depth):
        if depth == 0 or generator.random() < 0.2:
            return Node("predicate", generator.choice("PQR"))
        kind = generator.choice("¬∧∨⊕→↔")
        return Node(kind, "", tuple(grow(depth - 1) for _ in range(1 if kind == "¬" else 2)))

    def holds(node, world):
        if node.kind == "predicate":
            return world[node.name]
        a, *rest = (holds(part, world) for part in node.parts)
        b = rest[0] if rest else None
        return {"¬": not a, "∧": a and b, "∨": a or b, "⊕": a != b, "→": (not a) or b, "↔": a == b}[node.kind]

    worlds = [dict(zip("PQR", values, strict=True)) for values in itertools.product((True, False), repeat=3)]
    seen = set()
    for _ in range(60):
        premise, conclusion = grow(3), grow(3)
        possible = {holds(conclusion, world) for world in worlds if holds(premise, world)}
        wanted = {(True,): "entailed", (False,): "refuted", (): "inconsistent"}.get(tuple(possible), "unknown")
        assert Prover(2_000_000, 30).status([premise], conclusion) == wanted
        seen.add(wanted)
    assert len(seen) >= 3


def test_labels_of_the_spec_and_a_closed_world():
    assert verify("I think yes. No, wait: true").verdict == "right"
    assert verify("True, as no premise says otherwise").verdict == "right"
    assert verify("It is untrue").verdict == "unparseable"
    labels = {"entailed": ["A"], "refuted": ["B"]}
    assert verify("Answer: A", labels=labels).verdict == "right" and verify("Answer: B", labels=labels).verdict == "wrong"
    assert verify("False", "Dog(tom)").verdict == "wrong" and verify("False", "Dog(tom)", closed_world=True).verdict == "right"
    for wrong in ({"maybe": ["x"]}, {"entailed": ["x"], "refuted": ["X"]}, {}):
        with pytest.raises(SpecError, match="labels have words"):
            make(Scorer(verifier="logic", params={"labels": wrong}))


def test_mistakes_of_the_prompt_are_errors():
    for premises, told in (
        (["Cat(tom)", "¬Cat(tom)"], "contradict"),
        (["Cat(tom"], "expected ')'"),
        (None, "no 'premises'"),
        (["Cat(tom)", "Cat(tom, tim)"], "Cat is used as a predicate of 1 arguments and as a predicate of 2"),
    ):
        for kind, response in (("label", "True"), ("formula", "Cat(tom)"), ("steps", "Cat(tom)")):
            found = verify(response, "Cat(tom)", premises, answer=kind)
            assert found.verdict == "error" and told in found.detail
    assert verify("True", None).detail == "the prompt has no 'conclusion'"


def test_a_formula_that_must_follow():
    assert verify("I say:\n```\n¬Plant(tom)\n```", answer="formula").verdict == "right"
    assert verify("Dog(tom)", answer="formula").verdict == "wrong"
    assert verify("tom is a cat", answer="formula").verdict == "unparseable"
    assert verify("Cat(tom, tim)", answer="formula").verdict == "unparseable"
    assert verify("", answer="formula").detail == "there is no formula"
    rule = "∀x (Cat(x) → ¬Plant(x))"
    assert verify("∀x (Plant(x) → ¬Cat(x))", rule, answer="formula", equivalent=True).verdict == "right"
    less = verify("A ∨ ¬A", "Tall(tom)", answer="formula", equivalent=True)
    assert (less.verdict, less.detail) == ("wrong", "it follows, and says less than the conclusion")


def test_steps_must_follow_one_by_one_and_settle_the_conclusion():
    good = "1. Animal(tom)   # by the first rule\n2. ¬Plant(tom) ; by the second"
    assert verify(good, "¬Plant(tom)", answer="steps").verdict == "right"
    assert verify(good, "Plant(tom)", answer="steps").verdict == "right"  # settled: it is false
    assert verify(good, None, answer="steps").verdict == "right"
    gap = verify("Animal(tom)\nLoud(tom)\n¬Plant(tom)", "¬Plant(tom)", answer="steps")
    assert gap.verdict == "wrong" and gap.detail == "step 2 does not follow from what stands before it: Loud(tom)"
    short = verify("Animal(tom)", "¬Plant(tom)", answer="steps")
    assert short.verdict == "wrong" and "does not settle" in short.detail


HARD = [
    "∀x ∃y R(x, y)",
    "∀x ∀y (R(x, y) → ¬R(y, x))",
    "∀x ∀y ∀z (R(x, y) ∧ R(y, z) → R(x, z))",
    "∀x ∀y (R(x, y) → ∃z (R(x, z) ∧ R(z, y)))",
]


def test_what_has_only_infinite_models_ends_as_a_timeout():
    """A dense order without an end: no finite model, so no search ends. The steps do, and twice at the same place."""
    found = [verify("True", "R(a, b)", HARD, steps=200_000, seconds=60) for _ in range(2)]
    assert found[0].verdict == "timeout" and found[0] == found[1] and "no end" in found[0].detail
    with pytest.raises(GaveUp):
        Prover(10**9, 0.2).satisfiable([parse(one) for one in HARD])


def test_without_the_prover_the_command_that_installs_it_is_told(monkeypatch):
    monkeypatch.setattr("engine.score.first_order.prover.find_spec", lambda name: None)
    with pytest.raises(SpecError) as caught:
        make(Scorer(verifier="logic"))
    assert "pip install 'rondo[logic]'" in caught.value.hint


def test_the_prover_is_loaded_by_the_first_question_only():
    assert make(Scorer(verifier="logic")).fields() == ("premises", "conclusion")
    assert "z3" in sys.modules or verify("True").verdict == "right"
