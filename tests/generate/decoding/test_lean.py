"""The lean form of a small Llama gives the model's logits, and stands in only where it can."""

import pytest
import torch
import transformers as hf

from engine.generate.decoding import attention, lean
from engine.generate.decoding.cache import RoomyCache
from engine.generate.decoding.sampler import NOISE


def _model(shared=2, heads=4, layers=2, **more):
    torch.manual_seed(layers)
    sizes = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": layers, "max_position_embeddings": 128, "vocab_size": 61}
    config = hf.LlamaConfig(**sizes, num_attention_heads=heads, num_key_value_heads=shared, initializer_range=0.3, **more)
    model = hf.LlamaForCausalLM(config).eval()
    for name, weight in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return model


def _mask(lengths, width):
    return (torch.arange(width) >= width - torch.tensor(lengths)[:, None]).long()


LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"shared": 4, "tie_word_embeddings": True},
        {"layers": 1, "head_dim": 12},
        {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 32}},
    ],
)
@torch.inference_mode()
def test_logits_are_the_models(how, padded):
    """A prompt pass and ten steps, padded and not, against the model's own pass over each row alone."""
    model = _model(**how)
    made, cache = lean.of(model), RoomyCache(model)
    assert made is not None
    lengths = [9, 4, 1, 7] if padded else [9, 9, 9, 9]
    texts = torch.randint(0, 61, (4, 19), generator=torch.Generator().manual_seed(1))
    ids, mask = torch.zeros(4, 9, dtype=torch.int64), _mask(lengths, 9)
    for row, length in enumerate(lengths):
        ids[row, 9 - length :] = texts[row, :length]
    seen = [made(ids, mask if padded else None, (mask.cumsum(1) - 1).clamp(min=0), cache)]
    for step in range(10):
        tokens = torch.stack([texts[row, length + step] for row, length in enumerate(lengths)]).unsqueeze(1)
        mask = torch.cat([mask, torch.ones(4, 1, dtype=torch.int64)], 1)
        places = torch.tensor([[length + step] for length in lengths])
        seen.append(made(tokens, mask.bool()[:, None, None] if padded else None, places, cache))
    for row, length in enumerate(lengths):
        own = model(texts[row : row + 1, : length + 10]).logits[0, length - 1 :]
        found = torch.stack([logits[row] for logits in seen])
        assert ((found - own).abs().amax(1) < NOISE / 2 * own.abs().amax(1)).all()


def test_only_models_whose_layers_are_as_they_were_made_have_one():
    assert lean.of(_model()) is not None
    assert lean.of(_model(attention_bias=True)) is None
    assert lean.of(_model(hidden_act="gelu")) is None
    assert lean.of(_model(rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0})) is None
    assert lean.of(_model().double()) is None
    assert lean.of(_model().bfloat16()) is None
    sizes = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    assert lean.of(hf.Qwen2ForCausalLM(hf.Qwen2Config(**sizes, intermediate_size=16))) is None
    hooked = _model()
    hooked.model.layers[1].register_forward_hook(lambda *given: None)
    assert lean.of(hooked) is None


def test_a_model_with_an_adapter_has_none():
    from peft import LoraConfig, get_peft_model

    for where in ("q_proj", "down_proj", "lm_head", "embed_tokens", "input_layernorm"):
        how = {"modules_to_save": [where], "target_modules": ["v_proj"]} if where == "input_layernorm" else {"target_modules": [where]}
        wrapped = get_peft_model(_model(), LoraConfig(r=2, **how))
        assert lean.of(wrapped) is None
        assert lean.of(wrapped.get_base_model()) is None, where


def test_a_large_model_has_none(monkeypatch):
    model = _model()
    monkeypatch.setattr(lean, "MOST", model.num_parameters() - 1)
    assert lean.of(model) is None


@pytest.mark.parametrize(
    "make",
    [
        _model,
        lambda: _model(shared=1),
        lambda: hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=61, n_positions=64, n_embd=32, n_layer=2, n_head=4)).eval(),
    ],
)
@torch.inference_mode()
def test_attention_of_one_query_is_that_of_the_library(make):
    plain = make()
    ids, mask = torch.randint(0, 61, (3, 7), generator=torch.Generator().manual_seed(2)), _mask([7, 3, 5], 7)
    places = (mask.cumsum(1) - 1).clamp(min=0)

    def step(mask_of_step):
        cache = RoomyCache(plain)
        plain(input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True)
        more = {"position_ids": places[:, -1:] + 1, "past_key_values": cache, "use_cache": True}
        return plain(input_ids=ids[:, :1], attention_mask=mask_of_step, **more).logits

    whole = torch.cat([mask, torch.ones(3, 1, dtype=torch.int64)], 1)
    expected = step(whole)
    assert not attention.used(plain)
    assert attention.use(plain) and attention.used(plain)
    for form in (whole, whole.bool()[:, None, None]):
        assert torch.allclose(step(form), expected, atol=1e-5)
    eager = make()
    eager.set_attn_implementation("eager")
    assert not attention.use(eager)
