"""Whole models merged from file to file: what comes out, and which models do not fit each other."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import adapters_tiny
from engine import models
from engine.errors import ModelError, StepError
from engine.merge import Job, folders, stream
from engine.spec import Merge
from fakes import FakeContext, spec_of
from merge_small import method
from train_small import CPU, untrained


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return untrained(tmp_path_factory.mktemp("base") / "base")


def changed(base: Path, folder: Path, seed: int) -> Path:
    """A copy of a model with a little noise on every weight."""
    shutil.copytree(base, folder)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: w + 0.01 * torch.randn(w.shape, generator=generator) for name, w in load_file(base / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def job(tmp_path: Path, paths: dict[str, Path], base: Path | None = None, dtype: str = "float32", **entry) -> Job:
    wholes = {name: folders.whole(name, path, models.digest(path), tmp_path / "scratch") for name, path in paths.items()}
    own = folders.whole("base", base, models.digest(base), tmp_path / "scratch") if base else None
    given = Merge(**({"method": "soup", "of": tuple(paths), "base": "base" if base else None} | entry))
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    return Job(given, wholes, own, dtype, out, FakeContext(spec_of(), tmp_path))  # type: ignore[arg-type]


def logits(folder: Path) -> torch.Tensor:
    net, tokenizer = models.load(folder, CPU)
    with torch.no_grad():
        return net(torch.tensor([tokenizer("Add 3 and 2.")["input_ids"]])).logits


def test_the_merged_model_is_a_model(tmp_path, base):
    one, two = changed(base, tmp_path / "one", 1), changed(base, tmp_path / "two", 2)
    made = job(tmp_path, {"one": one, "two": two})
    assert method("soup").merge(made) == {"tensors": len(load_file(base / "model.safetensors"))}
    found, wanted = load_file(made.out / "model.safetensors"), [load_file(path / "model.safetensors") for path in (one, two)]
    assert all(torch.allclose(w, (wanted[0][name] + wanted[1][name]) / 2, atol=1e-7) for name, w in found.items())
    models.check(made.out)
    assert logits(made.out).isfinite().all() and (made.out / "tokenizer.json").read_bytes() == (one / "tokenizer.json").read_bytes()


def test_one_model_alone_is_itself(tmp_path, base):
    made = job(tmp_path, {"one": base})
    method("soup").merge(made)
    assert models.digest(made.out) == models.digest(base)


def test_the_result_does_not_depend_on_the_size_of_files(tmp_path, base):
    one, two = changed(base, tmp_path / "one", 1), changed(base, tmp_path / "two", 2)
    made = job(tmp_path, {"one": one, "two": two})
    stream.merge(made, method("soup").tensor, ("one", "two"), (1.0, 1.0), made.out, most=4096)
    files = sorted(made.out.glob("*.safetensors"))
    index = json.loads((made.out / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(files) > 2 and set(index.values()) == {file.name for file in files}
    pieces = logits(made.out)
    shutil.rmtree(made.out)
    made = job(tmp_path, {"one": one, "two": two})
    method("soup").merge(made)
    assert torch.equal(pieces, logits(made.out))
    (tmp_path / "again").mkdir()
    again = job(tmp_path / "again", {"one": one, "two": two})
    method("soup").merge(again)
    assert models.digest(again.out) == models.digest(made.out)


def test_arithmetic_is_in_float32_and_the_result_in_the_dtype_asked_for(tmp_path, base):
    half, one = tmp_path / "half", load_file(base / "model.safetensors")
    shutil.copytree(base, half)
    rounded = {name: w.bfloat16() for name, w in one.items()}
    save_file(rounded, half / "model.safetensors", metadata={"format": "pt"})
    made = job(tmp_path, {"half": half, "whole": base})
    method("soup").merge(made)
    for name, w in load_file(made.out / "model.safetensors").items():
        assert w.dtype == torch.float32 and torch.equal(w, rounded[name].float() + 0.5 * (one[name] - rounded[name].float()))
    made = job(tmp_path, {"half": half, "whole": base}, dtype="bfloat16")
    method("soup").merge(made)
    assert {w.dtype for w in load_file(made.out / "model.safetensors").values()} == {torch.bfloat16}


def test_a_tied_head_is_merged_and_written_once(tmp_path, base):
    config = json.loads((base / "config.json").read_text())
    assert config["tie_word_embeddings"]  # else this says nothing
    both = tmp_path / "both"
    shutil.copytree(base, both)
    tensors = load_file(base / "model.safetensors")
    name = next(name for name in tensors if "embed_tokens" in name)
    save_file(tensors | {"lm_head.weight": tensors[name].clone()}, both / "model.safetensors", metadata={"format": "pt"})
    made = job(tmp_path, {"both": both, "one": base})
    folders.check(list(made.members.values()))
    method("soup").merge(made)
    assert set(load_file(made.out / "model.safetensors")) == set(tensors)
    assert torch.equal(logits(made.out), logits(base))


def test_adapters_are_merged_as_products(tmp_path, base):
    one = adapters_tiny.adapt(tmp_path / "one", base, r=2)
    two = adapters_tiny.adapt(tmp_path / "two", base, r=4, target_modules=["q_proj"], use_dora=True)
    made = job(tmp_path, {"one": one, "two": two, "base": base})
    folders.check(list(made.members.values()))
    method("soup").merge(made)
    whole = [load_file(adapters_tiny.merged(tmp_path / f"m{i}", a, base) / "model.safetensors") for i, a in enumerate((one, two))]
    own = load_file(base / "model.safetensors")
    for name, w in load_file(made.out / "model.safetensors").items():
        assert torch.allclose(w, (whole[0][name] + whole[1][name] + own[name]) / 3, atol=1e-5), name


@pytest.mark.parametrize("what", ["shape", "name", "vocabulary", "config"])
def test_models_that_do_not_fit_are_named(tmp_path, base, what):
    other = changed(base, tmp_path / "other", 1)
    tensors = load_file(other / "model.safetensors")
    first = sorted(tensors)[0]
    if what == "shape":
        save_file(tensors | {first: tensors[first][1:].clone()}, other / "model.safetensors")
        text = rf"tensor {first}: one has the shape .*, other has"
    elif what == "name":
        save_file({name: w for name, w in tensors.items() if name != first}, other / "model.safetensors")
        text = rf"the model other has no tensor {first}"
    elif what == "vocabulary":
        spoken = json.loads((other / "tokenizer.json").read_text())
        last = sorted(spoken["model"]["vocab"])[-2:]
        spoken["model"]["vocab"] |= dict(zip(last, [spoken["model"]["vocab"][t] for t in reversed(last)], strict=True))
        (other / "tokenizer.json").write_text(json.dumps(spoken))
        text = "different tokenizers: tokenizer.json: model.vocab"
    else:
        config = json.loads((other / "config.json").read_text())
        (other / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
        text = "different configs: rms_norm_eps"
    made = job(tmp_path, {"one": base, "other": other})
    with pytest.raises(ModelError, match=text) as caught:
        folders.check(list(made.members.values()))
    assert str(other) in str(caught.value) and str(base) in str(caught.value)
    if what == "config":
        folders.check(list(made.members.values()), same_config=False)


def test_a_weight_that_is_not_finite_is_named(tmp_path, base):
    broken = changed(base, tmp_path / "broken", 1)
    tensors = load_file(broken / "model.safetensors")
    name = sorted(tensors)[1]
    tensors[name].view(-1)[3] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    made = job(tmp_path, {"one": base, "broken": broken})
    with pytest.raises(StepError, match=f"merged weights of {name} are not finite"):
        method("soup").merge(made)


def test_memory_holds_one_tensor_of_a_model(tmp_path, base, monkeypatch):
    """No more tensors are read than the one name needs before the next name comes."""
    one, two = changed(base, tmp_path / "one", 1), changed(base, tmp_path / "two", 2)
    read: list[str] = []
    whole = folders.Weights.tensor
    monkeypatch.setattr(folders.Weights, "tensor", lambda self, name: (read.append(name), whole(self, name))[1])
    made = job(tmp_path, {"one": one, "two": two}, base=base, method="ties")
    method("ties").merge(made)
    assert [read[i] for i in range(0, len(read), 3)] == sorted(set(read)) and len(read) == 3 * len(set(read))


def test_blocks_are_found_in_names():
    assert stream._block("model.layers.11.mlp.up_proj.weight") == 11
    assert stream._block("transformer.h.3.attn.c_attn.weight") == 3
    assert stream._block("model.embed_tokens.weight") is None
