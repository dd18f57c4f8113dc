"""One row of a preference data set in the shapes that people publish."""

from __future__ import annotations

import pytest

from engine.errors import DataError
from engine.pairs.convert import preference


def user(text):
    return {"role": "user", "content": text}


def bot(text):
    return {"role": "assistant", "content": text}


ASKED, GOOD, BAD = [user("sky?")], [bot("It is blue.")], [bot("It is green.")]
SAME = {
    "explicit text": {"prompt": "sky?", "chosen": "It is blue.", "rejected": "It is green."},
    "explicit messages": {"prompt": ASKED, "chosen": GOOD, "rejected": BAD},
    "implicit messages": {"chosen": ASKED + GOOD, "rejected": ASKED + BAD},
    "text prompt, whole conversations": {"prompt": "sky?", "chosen": ASKED + GOOD, "rejected": ASKED + BAD},
    "messages, whole conversations": {"prompt": ASKED, "chosen": ASKED + GOOD, "rejected": ASKED + BAD},
    "more keys": {"prompt": ASKED, "chosen": [GOOD[0] | {"score": 5}], "rejected": BAD, "source": "x"},
}


@pytest.mark.parametrize("shape", SAME)
def test_every_shape_is_the_same_prompt_and_answers(shape):
    assert preference.read(SAME[shape], "row 1") == (ASKED, GOOD, BAD)


def test_the_common_beginning_of_two_texts_ends_at_a_blank():
    row = {"chosen": "Human: sky?\n\nAssistant: It is blue.", "rejected": "Human: sky?\n\nAssistant: It is black."}
    asked, chosen, rejected = preference.read(row, "row 1")
    assert asked == [user("Human: sky?\n\nAssistant: It is")]
    assert (chosen, rejected) == ([bot(" blue.")], [bot(" black.")])
    assert asked[0]["content"] + chosen[0]["content"] == row["chosen"]


def test_common_turns_are_the_prompt():
    before = [user("a"), bot("b"), user("c")]
    assert preference.read({"chosen": before + GOOD, "rejected": before + BAD}, "row 1")[0] == before


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"chosen": "a b"}, "row 7: expected rejected: text or a list of messages, found None"),
        ({"chosen": [], "rejected": BAD}, "row 7: expected chosen"),
        ({"prompt": "x", "chosen": "a", "rejected": BAD}, "row 7: one of chosen and rejected is text"),
        ({"chosen": ASKED + GOOD, "rejected": ASKED + GOOD}, "row 7: chosen has no answer of its own beyond the prompt"),
        ({"chosen": GOOD, "rejected": BAD}, "row 7: the two sides share no prompt"),
        ({"chosen": "It is", "rejected": "Who are"}, "row 7: the two sides share no prompt"),
        ({"chosen": "sky? blue", "rejected": "sky? blue"}, "row 7: chosen and rejected are the same text"),
        ({"prompt": ASKED, "chosen": ASKED + GOOD, "rejected": BAD}, "row 7: one side begins with the prompt, the other does not"),
        ({"prompt": ASKED, "chosen": [{"role": "assistant", "text": "x"}], "rejected": BAD}, "row 7: chosen: expected messages with role"),
        ({"prompt": 5, "chosen": GOOD, "rejected": BAD}, "row 7: prompt: expected a list of messages, found 5"),
    ],
)
def test_what_is_no_preference_is_an_error_that_names_the_row(row, says):
    with pytest.raises(DataError) as error:
        preference.read(row, "row 7")
    assert str(error.value).startswith(says)
