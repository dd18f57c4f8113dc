"""The shipped prompts, and files that are none."""

from __future__ import annotations

import pytest

from engine.errors import SpecError
from engine.score.judge import prompt as prompts
from engine.score.judge.prompt import Prompt
from engine.score.judge.votes import vote

SAYS = {
    "points": [("It is fine.\nScore: 7", 7), ("**Score:** 8.5/10", 8.5), ("Score: 3, no, Score: 4", 4), ("Score: 11", None), ("7", None)],
    "additive": [("... Score: 0", 0), ("score = 5", 5), ("Score: -1", None), ("Score: six", None), ("", None)],
    "rubric": [("Score: 1", 1), ("Score: 0", None)],
    "reference": [("Same. Verdict: right", 1), ("Verdict: WRONG.", 0), ("Verdict: unclear", None), ("It is right", None)],
    "yes_no": [("Yes", 1), (" no.", 0), ("Yes or no?", 1), ("maybe", None)],
    "pairwise": [("Winner: A", 1), ("winner: **b**", 0), ("Winner: Tie", 0.5), ("Winner: C", None)],
    "letters": [("A", 1), ("B.", 0), ("neither", None)],
    "principle": [("A", 1), ("(B)", 0)],
    "reference_pairwise": [("Winner: tie", 0.5)],
}


@pytest.mark.parametrize("name", prompts.names())
def test_every_shipped_prompt_says_what_it_is_and_reads_replies(name, tmp_path):
    one = prompts.load(name, tmp_path / "spec.yaml")
    assert (one.about and "criterion" in one.names) or name not in ("rubric", "principle")
    for text, value in SAYS[name]:
        assert vote(one, text).value == value, text


def test_names_are_filled_once(tmp_path):
    one = prompts.load("points", tmp_path / "spec.yaml")
    (message,) = one.messages({"question": "what is {answer}?", "answer": "{question}"})
    assert "what is {answer}?" in message["content"] and "\n{question}\n" in message["content"]


def test_a_system_text_comes_first():
    one = Prompt(about="x", system="You judge.", question="{question} {answer}", parse="(.)", range=(0, 9))
    assert [m["role"] for m in one.messages({"question": "q", "answer": "a"})] == ["system", "user"]


def test_a_file_beside_the_spec_comes_before_a_shipped_one(tmp_path):
    (tmp_path / "points").write_text("about: mine\nquestion: '{question} {answer}'\nparse: '(\\d)'\nrange: [0, 9]\n")
    assert prompts.load("points", tmp_path / "spec.yaml").about == "mine"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("question: '{question}'\nparse: (.)\nrange: [0, 1]", r"lacks \{answer\}"),
        ("question: '{question} {first}'\ncompares: true\nvalues: {A: 1, B: 0}", r"lacks \{second\}"),
        ("question: '{question} {answer} {referense}'\nparse: (.)\nrange: [0, 1]", "did you mean 'reference'"),
        ("question: '{question} {answer}'\nparse: .\nrange: [0, 1]", "one group"),
        ("question: '{question} {answer}'\nparse: '(('\nrange: [0, 1]", "prompt"),
        ("question: '{question} {answer}'\nparse: (.)", "`range` or `values`"),
        ("question: '{question} {answer}'\nparse: (.)\nrange: [3, 1]", "lowest, highest"),
        ("question: '{question} {answer}'\nrange: [0, 1]", "parse: needed"),
        ("question: '{question} {answer}'\nvalues: {a: 1, A: 2}", "different words"),
        ("question: '{question} {first} {second}'\ncompares: true\nvalues: {A: 2, B: 0}", "from 0"),
        ("question: '{question} {answer}'\nparses: (.)\nrange: [0, 1]", "did you mean 'parse'"),
    ],
)
def test_files_that_are_no_prompts(tmp_path, text, words):
    (tmp_path / "own.yaml").write_text(f"about: x\n{text}\n")
    with pytest.raises(SpecError, match=words) as caught:
        prompts.load("own.yaml", tmp_path / "spec.yaml")
    assert "own.yaml" in str(caught.value)


def test_an_unknown_prompt_names_the_nearest(tmp_path):
    with pytest.raises(SpecError, match="did you mean 'pairwise'"):
        prompts.load("pairwize", tmp_path / "spec.yaml")
