import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engine import models
from engine.errors import ModelError
from engine.step import Device
from generate_tiny import CPU, save, tokenizer

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
STRICT = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}x"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def copy(tiny, tmp_path):
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def test_digest_is_of_content_not_of_place(tiny, copy):
    assert models.digest(tiny) == models.digest(copy)
    assert len(models.digest(tiny)) == 16
    (copy / "rondo.json").write_text("{}")
    (copy / "training.log").write_text("no part of the model")
    assert models.digest(copy) == models.digest(tiny)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"])
def test_digest_sees_a_change_in_any_file_of_the_model(tiny, copy, name):
    file = copy / name
    before = models.digest(copy)
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    assert models.digest(copy) != before == models.digest(tiny)


def test_digest_sees_added_files(copy):
    before = models.digest(copy)
    (copy / "chat_template.jinja").write_text("x")
    with_template = models.digest(copy)
    (copy / "adapter_model.safetensors").write_bytes(b"x")
    assert len({before, with_template, models.digest(copy)}) == 3


def test_load_gives_a_model_in_evaluation_mode(tiny):
    import torch

    model, words = models.load(tiny, CPU)
    assert not model.training
    assert model.dtype == torch.float32
    assert torch.get_num_threads() == 1
    assert words("ab")["input_ids"] == tokenizer()("ab")["input_ids"]


def _no_weights(path):
    (path / "model.safetensors").unlink()
    (path / "pytorch_model.bin").write_bytes(b"x")


def _broken_json(path):
    (path / "config.json").write_text("{")


def _unknown_kind(path):
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"model_type": "nothing"}))


def _other_shape(path):
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))


def _cut_weights(path):
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data[: len(data) // 2])


def _no_config(path):
    (path / "config.json").unlink()


def _no_tokenizer(path):
    (path / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (shutil.rmtree, "no model folder"),
        (_no_weights, "pytorch_model.bin"),
        (_broken_json, "not JSON"),
        (_unknown_kind, "cannot load the"),
        (_other_shape, "do not fill the model"),
        (_cut_weights, "cannot load the model"),
        (_no_config, "config.json is missing"),
        (_no_tokenizer, "cannot load the tokenizer"),
    ],
)
def test_a_broken_folder_is_an_error_with_its_cause(copy, breakage, words):
    breakage(copy)
    with pytest.raises(ModelError, match=words) as caught:
        models.load(copy, CPU)
    assert str(copy) in caught.value.where


def test_digest_needs_weights(copy):
    _no_weights(copy)
    with pytest.raises(ModelError, match=r"no .*safetensors"):
        models.digest(copy)


def test_resolve_finds_folders_beside_the_spec(tiny):
    assert models.resolve("tiny", tiny.parent / "spec.yaml") == tiny
    assert models.resolve(str(tiny), Path("/elsewhere/spec.yaml")) == tiny


def test_resolve_says_what_is_missing(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="no folder"):
        models.resolve("../not/there", tmp_path / "spec.yaml")
    with pytest.raises(ModelError, match="hub did not give it"):
        models.resolve("nobody/nothing-of-this-name", tmp_path / "spec.yaml")


def test_render_without_a_template():
    words = tokenizer()
    one = [{"role": "user", "content": "a+b"}]
    assert models.render(words, one, None) == "a+b"
    assert models.render(words, [{"role": "system", "content": "s"}, *one], False) == "s\na+b"
    with pytest.raises(ModelError, match="no chat template"):
        models.render(words, one, True)


def test_render_with_a_template():
    words = tokenizer(TEMPLATE)
    one = [{"role": "user", "content": "hi"}]
    assert models.render(words, one, None) == models.render(words, one, True) == "<user>hi<assistant>"
    assert models.render(words, one, False) == "hi"
    with pytest.raises(ModelError, match="no system role"):
        models.render(tokenizer(STRICT), [{"role": "system", "content": "s"}], None)


@pytest.mark.parametrize(
    ("how", "package"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}, "optimum"),
    ],
)
def test_quantised_weights_without_their_package_are_an_error_that_names_it(copy, how, package):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"quantization_config": how}))
    with pytest.raises(ModelError, match=rf"quantised \({how['quant_method']}\).*requires.*{package}") as caught:
        models.load(copy, CPU)
    assert "install the package" in caught.value.hint
    with pytest.raises(ModelError, match="do not train"):
        models.load(copy, CPU, train=True)


class _Loaded:
    """Stands in for a model: remembers what it was told."""

    def __init__(self):
        self.moved = []

    def to(self, *where):
        self.moved.append(where)
        return self

    def eval(self):
        return self


@pytest.mark.parametrize("quantised", [False, True])
def test_what_a_gpu_model_is_loaded_with(copy, monkeypatch, quantised):
    """No GPU here: what transformers would be told, and where the model would go."""
    import torch
    import transformers

    made, given = _Loaded(), {}

    def from_pretrained(path, **more):
        given.update(more)
        return made, {"missing_keys": set(), "mismatched_keys": set()}

    if quantised:
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq", "bits": 4}}))
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", from_pretrained)
    model, _ = models.load(copy, Device("cuda:0", 1, "bfloat16"))
    assert model is made and given["dtype"] is torch.bfloat16 and given["use_safetensors"] is True
    assert "attn_implementation" not in given
    assert (given.get("device_map"), made.moved) == (({"": "cuda:0"}, []) if quantised else (None, [("cuda:0",)]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_weights_have_the_dtype_of_the_device(tiny, dtype):
    import torch

    model, _ = models.load(tiny, replace(CPU, dtype=dtype))
    assert {weight.dtype for weight in model.parameters()} == {getattr(torch, dtype)}
