"""format: tags, sections, patterns and lengths, each met and not met."""

import pytest

from engine.errors import SpecError
from engine.score import Answer, make
from engine.spec import Scorer

TAGS = ["think", "answer"]


def verify(response, **params):
    return make(Scorer(verifier="format", params=params)).verify(Answer(response))


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ("<think>a</think><answer>b</answer>", None),
        ("\n<think>\na < b\n</think>\n\n<answer> b </answer>\n", None),
        ("<think>a</think><answer></answer>", "<answer> is empty"),
        ("<think>a</think>", "<answer> stands 0 times and </answer> 0 times, expected each once"),
        ("<think>a</think><answer>b</answer><answer>c</answer>", "<answer> stands 2 times and </answer> 2 times"),
        ("</think>a<think><answer>b</answer>", "the wrong way round"),
        ("<answer>b</answer><think>a</think>", "tags are not in the order think, answer"),
        ("<think>a<answer>b</answer></think>", "tags stand within one another"),
        ("So: <think>a</think> and <answer>b</answer>.", "text outside of the tags: 'So: and .'"),
        ("<think>a</think><answer>b", "<answer> stands 1 times and </answer> 0 times"),
    ],
)
def test_tags(response, said):
    found = verify(response, tags=TAGS)
    if said is None:
        assert found == (1.0, "right", None, None)
    else:
        assert (found.value, found.verdict) == (0.0, "wrong")
        assert said in found.detail


def test_tags_may_be_looser():
    assert verify("<answer>b</answer><think>a</think>", tags=TAGS, ordered=False).verdict == "right"
    assert verify("So <think>a</think> it is <answer>b</answer>", tags=TAGS, outside=True).verdict == "right"
    assert verify("<think></think><answer>b</answer>", tags=TAGS, empty=True).verdict == "right"
    assert verify("<think>a<answer>b</answer></think>", tags=TAGS, ordered=False, outside=True).verdict == "wrong"


def test_what_stands_inside():
    assert verify("<answer>\n42 </answer>", tags=["answer"], inside={"answer": r"\d+"}).verdict == "right"
    found = verify("<answer>42 apples</answer>", tags=["answer"], inside={"answer": r"\d+"})
    assert found.detail == r"<answer> holds '42 apples', expected a match of '\\d+'"


def test_what_the_chat_template_wrote_belongs_to_the_form():
    response = "a</think><answer>b</answer>"
    assert verify(response, tags=TAGS).verdict == "wrong"
    assert verify(response, tags=TAGS, prefix="<think>\n").verdict == "right"
    assert verify("12345", max_characters=5, prefix="<think>").verdict == "right"


def test_sections():
    sections = [r"## Plan", r"## Result\b"]
    assert verify("## Plan\nx\n## Result\ny", sections=sections).verdict == "right"
    assert verify("## Result\ny\n## Plan\nx", sections=sections).detail == "sections are not in the order given"
    assert verify("## Result\ny\n## Plan\nx", sections=sections, ordered=False).verdict == "right"
    assert "2 lines start with '## Plan', expected 1" in verify("## Plan\n## Plan\n## Result", sections=sections).detail
    assert "0 lines start with '## Plan'" in verify("a ## Plan\n## Result", sections=sections).detail


def test_patterns_and_lengths():
    assert verify("#### 12", patterns=[r"#### \d+$"], forbidden=["sorry"]).verdict == "right"
    assert verify("12", patterns=[r"#### \d+$"]).detail == r"no match of '#### \\d+$'"
    assert verify("so sorry", forbidden=["sorry"]).detail == "a match of 'sorry'"
    assert verify("one two", max_words=2).verdict == "right"
    assert verify("one two three", max_words=2, max_characters=5).detail == "13 characters, expected at most 5; 3 words, expected at most 2"


def test_share_counts_requirements():
    # of think, answer, order, outside: the answer is missing, so the order cannot be told
    assert verify("<think>a</think>", tags=TAGS, value="share")[:2] == (0.5, "wrong")
    assert verify("<think>a</think><answer>b</answer>", tags=TAGS, value="share").value == 1.0


def test_an_empty_answer_is_unparseable():
    assert verify(" \n", max_words=3)[:2] == (0.0, "unparseable")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "nothing is asked for"),
        ({"tags": ["<think>"]}, "without angle brackets"),
        ({"tags": ["a", "a"]}, "different names"),
        ({"tags": ["a"], "inside": {"b": "x"}}, "'b' not among the tags"),
        ({"tags": ["a"], "inside": {"a": "("}}, "not a regular expression"),
        ({"patterns": ["("]}, "not a regular expression"),
        ({"max_words": 0}, "max_words"),
        ({"tag": ["a"]}, "did you mean 'tags'"),
    ],
)
def test_settings_that_make_no_sense(params, said):
    with pytest.raises(SpecError) as caught:
        make(Scorer(verifier="format", params=params))
    assert said in str(caught.value)
