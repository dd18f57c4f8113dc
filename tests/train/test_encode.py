import pytest

from engine import models
from engine.errors import StepError
from engine.train.encode import Encoder, Example
from train_small import row, selected, untrained

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TURNS = [
    ("system", "Be short."),
    ("user", "Add 1 and 2."),
    ("assistant", " 1+2=3", 0.25),
    ("user", "And 4?", 0.0),
    ("assistant", " 3+4=7", 1.0),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoTokenizer

    folder = untrained(tmp_path_factory.mktemp("m"), [row("r", [*TURNS, ("user", "<|>_assistant user system im start end")])])
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def chat(tokenizer, tmp_path_factory):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("c")
    tokenizer.save_pretrained(folder)
    with_template = AutoTokenizer.from_pretrained(folder)
    with_template.add_special_tokens({"additional_special_tokens": ["<|im_start|>"], "eos_token": "<|im_end|>"})
    with_template.chat_template = CHATML
    return with_template


def encode(tokenizer, messages, mask="assistant", weight=1.0, limit=500, ends=()) -> Example:
    encoder = Encoder(tokenizer, mask=mask, chat=None, ends=ends, limit=limit)
    return encoder.encode(selected([row("r", messages, weight)]))[0]


def trained(tokenizer, example: Example) -> list[tuple[str, float]]:
    """Stretches of text that train, with their weight."""
    found: list[tuple[list[int], float]] = []
    for i, (token, weight) in enumerate(zip(example.ids.tolist(), example.weights.tolist(), strict=True)):
        if not weight:
            continue
        if found and found[-1][1] == weight and example.weights[i - 1] == weight:
            found[-1][0].append(token)
        else:
            found.append(([token], weight))
    return [(tokenizer.decode(tokens), weight) for tokens, weight in found]


def test_without_a_template_the_answer_follows_what_generation_shows(tokenizer):
    messages = TURNS[:3]
    example = encode(tokenizer, messages)
    shown = models.render(tokenizer, [{"role": r, "content": c} for r, c, *_ in messages[:2]], None)
    prompt = models.encode(tokenizer, [shown], None)[0]
    assert example.ids[: len(prompt)].tolist() == prompt
    assert not example.weights[: len(prompt)].any()
    assert trained(tokenizer, example) == [(" 1+2=3</s>", 1.0)]
    assert example.ids[-1] == tokenizer.eos_token_id


def test_masks_without_a_template(tokenizer):
    assert trained(tokenizer, encode(tokenizer, TURNS)) == [(" 1+2=3</s>", 1.0), (" 3+4=7</s>", 1.0)]
    assert trained(tokenizer, encode(tokenizer, TURNS, "last")) == [(" 3+4=7</s>", 1.0)]
    assert trained(tokenizer, encode(tokenizer, TURNS, "message", weight=2.0)) == [(" 1+2=3</s>", 0.5), (" 3+4=7</s>", 2.0)]


def test_masks_with_a_template_that_has_no_generation_marks(chat):
    example = encode(chat, TURNS)
    whole = chat.apply_chat_template([{"role": r, "content": c} for r, c, *_ in TURNS], tokenize=False)
    assert chat.decode(example.ids) == whole.rstrip("\n")
    assert trained(chat, example) == [(" 1+2=3<|im_end|>", 1.0), (" 3+4=7<|im_end|>", 1.0)]
    assert trained(chat, encode(chat, TURNS, "last")) == [(" 3+4=7<|im_end|>", 1.0)]
    assert trained(chat, encode(chat, TURNS, "message")) == [(" 1+2=3<|im_end|>", 0.25), (" 3+4=7<|im_end|>", 1.0)]


def test_a_template_prompt_is_what_generation_shows(chat):
    example = encode(chat, TURNS, "last")
    shown = models.render(chat, [{"role": r, "content": c} for r, c, *_ in TURNS[:4]], None)
    prompt = models.encode(chat, [shown], None)[0]
    assert example.ids[: len(prompt)].tolist() == prompt


def test_a_template_that_never_ends_a_turn_gets_an_eos(tokenizer, chat):
    chat_without_end = CHATML.replace("<|im_end|>", "")
    before, chat.chat_template = chat.chat_template, chat_without_end
    try:
        assert trained(chat, encode(chat, TURNS[:3])) == [(" 1+2=3<|im_end|>", 1.0)]
    finally:
        chat.chat_template = before


def test_another_end_token_of_the_model_ends_the_answer(tokenizer, chat):
    end = chat.convert_tokens_to_ids("<|im_end|>")
    before, chat.eos_token = chat.eos_token, "</s>"
    try:
        example = encode(chat, TURNS[:3], ends=[end])
    finally:
        chat.eos_token = before
    assert example.ids[-1] == end


def test_a_message_of_a_user_can_train(tokenizer, chat):
    messages = [("user", "Add 1 and 2.", 0.5), ("assistant", " 1+2=3", 0.0)]
    assert trained(chat, encode(chat, messages, "message")) == [("Add 1 and 2.", 0.5)]
    assert trained(tokenizer, encode(tokenizer, [("system", "Be short.", 0.0), *messages], "message")) == [("Add 1 and 2.", 0.5)]


def test_a_template_that_rewrites_earlier_turns_says_so(chat):
    before, chat.chat_template = chat.chat_template, CHATML.replace("m['content']", "(m['content'] | trim)")
    try:
        with pytest.raises(StepError, match="row r: the chat template shows earlier messages otherwise"):
            encode(chat, TURNS)
        assert trained(chat, encode(chat, TURNS, "last")) == [(" 3+4=7<|im_end|>", 1.0)]
    finally:
        chat.chat_template = before


def test_a_row_that_is_too_long_is_named(tokenizer):
    with pytest.raises(StepError, match=r"row r has \d+ tokens, allowed are 5"):
        encode(tokenizer, TURNS, limit=5)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_row_weight_that_cannot_train_is_named(tokenizer, weight):
    with pytest.raises(StepError, match="row r"):
        encode(tokenizer, TURNS, weight=weight)


def test_a_row_without_an_answer_is_named(tokenizer):
    with pytest.raises(StepError, match=r"row r has nothing that trains \(mask assistant.*messages: user\)"):
        encode(tokenizer, [("user", "Add 1 and 2.")])
