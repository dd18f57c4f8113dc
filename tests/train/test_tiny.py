import pytest
import torch

from engine.errors import SpecError
from engine.spec import TinyModel
from engine.starters.problems import problems
from engine.train import tiny


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [text for problem in problems()["base"] for text in (f"Question: {problem.question}\nSolution:", problem.solution)]


@pytest.fixture(scope="module")
def tokenizer(texts):
    return tiny.tokenizer(texts, TinyModel())


def test_numbers_below_a_hundred_are_single_tokens(tokenizer):
    for number in range(100):
        assert len(tokenizer(str(number))["input_ids"]) == 1, number
        assert tokenizer.decode(tokenizer(f" {number}+1")["input_ids"]) == f" {number}+1"


def test_text_comes_back_and_a_problem_is_short(tokenizer, texts):
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    assert [tokenizer.decode(ids) for ids in tokenizer(texts[:50])["input_ids"]] == texts[:50]
    assert sum(lengths) / (len(texts) / 2) < 35


def test_a_reloaded_tokenizer_is_the_same(tokenizer, texts, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(texts[:20])["input_ids"] == tokenizer(texts[:20])["input_ids"]
    assert (again.eos_token, again.pad_token, again.bos_token) == ("</s>", "<pad>", None)
    assert again.decode(again("an answer</s>")["input_ids"], skip_special_tokens=True) == "an answer"


def test_a_character_that_no_text_has(tokenizer):
    assert tokenizer("é")["input_ids"] == [tokenizer.unk_token_id]


def test_the_order_of_texts_does_not_matter(texts, tokenizer):
    assert tiny.tokenizer(texts[::-1], TinyModel()).get_vocab() == tokenizer.get_vocab()


def test_the_quickstart_model_has_its_size_and_is_drawn_from_the_seed(tokenizer):
    torch.manual_seed(99)
    one = tiny.untrained(tokenizer, TinyModel(), seed=1)
    two = tiny.untrained(tokenizer, TinyModel(), seed=1)
    other = tiny.untrained(tokenizer, TinyModel(), seed=2)
    assert one.num_parameters() == 106_816 + 64 * len(tokenizer)  # 131,520 with 386 tokens
    assert 320 <= len(tokenizer) <= 390
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)
    assert one.lm_head.weight is one.model.embed_tokens.weight
    assert one.model.layers[0].mlp.up_proj.weight.std().item() == pytest.approx(0.04, rel=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pieces": "("}, "base.model.pieces: .*unmatched"),
        ({"vocabulary": 50}, "base.model.vocabulary: 50 entries do not hold"),
        ({"heads": 5}, "hidden_size 64 is not a multiple"),
    ],
)
def test_sizes_that_do_not_fit(texts, change, message, tmp_path):
    with pytest.raises(SpecError, match=message):
        tiny.build(texts[:50], TinyModel(**change), seed=0, folder=tmp_path)
