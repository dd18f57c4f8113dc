from dataclasses import replace

import pytest

from engine import models
from engine.errors import ModelError
from generate_tiny import CPU, save


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "tiny")


def loaded(path, attention):
    model, _ = models.load(path, replace(CPU, attention=attention))
    return model


def lacking(monkeypatch, *names):
    """Takes attention implementations away from Llama, as other architectures lack them."""
    from transformers import LlamaForCausalLM

    for name in names:
        monkeypatch.setattr(LlamaForCausalLM, f"_supports_{name}", False)


@pytest.mark.parametrize(("asked", "used"), [("auto", "sdpa"), ("sdpa", "sdpa"), ("eager", "eager")])
def test_a_model_uses_the_attention_that_is_asked_for(tiny, asked, used):
    assert loaded(tiny, asked).config._attn_implementation == used


def test_implementations_agree(tiny):
    import torch

    ids = torch.tensor([[3, 9, 30, 2]])
    assert torch.allclose(loaded(tiny, "eager")(input_ids=ids).logits, loaded(tiny, "sdpa")(input_ids=ids).logits, atol=1e-5)


def test_auto_takes_what_the_model_has(tiny, monkeypatch):
    lacking(monkeypatch, "sdpa")
    assert loaded(tiny, "auto").config._attn_implementation == "eager"


def test_a_model_without_the_attention_asked_for_is_an_error(tiny, monkeypatch):
    lacking(monkeypatch, "sdpa")
    with pytest.raises(ModelError, match="the model has no attention 'sdpa': LlamaForCausalLM does not support") as caught:
        loaded(tiny, "sdpa")
    assert caught.value.where == str(tiny) and "auto" in caught.value.hint


def test_flash_attention_goes_to_models_that_have_it(tiny, monkeypatch):
    """No GPU and no package here: what transformers checks of the machine is taken away; what it checks of the model stays."""
    from transformers import PreTrainedModel

    def checked(self, attn_implementation, **_):
        if attn_implementation == "flash_attention_2" and not self._supports_flash_attn:
            raise ValueError(f"{type(self).__name__} does not support Flash Attention 2 yet")
        return attn_implementation or "sdpa"

    monkeypatch.setattr(PreTrainedModel, "_check_and_adjust_attn_implementation", checked)
    for asked in ("flash_attention_2", "auto:flash_attention_2"):
        assert loaded(tiny, asked).config._attn_implementation == "flash_attention_2"
    lacking(monkeypatch, "flash_attn")
    assert loaded(tiny, "auto:flash_attention_2").config._attn_implementation == "sdpa"
    with pytest.raises(ModelError, match=r"no attention 'flash_attention_2'.*does not support Flash Attention 2"):
        loaded(tiny, "flash_attention_2")


def test_flash_attention_is_refused_where_transformers_cannot_use_it(tiny):
    """No stand-in: this machine lacks the package, and transformers says so itself."""
    from transformers.utils import is_flash_attn_2_available

    if is_flash_attn_2_available():
        pytest.skip("this machine has flash attention")
    with pytest.raises(ModelError, match="no attention 'flash_attention_2'"):
        loaded(tiny, "flash_attention_2")
    assert loaded(tiny, "auto:flash_attention_2").config._attn_implementation == "sdpa"


def test_a_broken_model_says_what_is_broken_and_not_its_attention(tiny, tmp_path):
    import json
    import shutil

    copy = shutil.copytree(tiny, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "nothing"}))
    with pytest.raises(ModelError, match="cannot load the"):
        loaded(copy, "sdpa")
