import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import loop_home
import train_small
from adapters_tiny import adapt, change, merged
from engine import adapters, modelfiles, models
from engine.cluster.embedders import embedders
from engine.errors import ModelError, StepError
from engine.generate import Job, backends
from engine.step import Model
from generate_tiny import CPU, prompts, save, spec, tokenizer
from score.measures.read_answers import TEXTS, ReadContext, measure, rollouts, values

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a base, an adapter of it that is named by a relative path, and the two merged."""
    folder = tmp_path_factory.mktemp("models")
    base = save(folder / "base", num_key_value_heads=2)
    adapt(folder / "adapter", base, named="../base", target_modules=LINEAR)
    merged(folder / "merged", folder / "adapter", base)
    return folder


@pytest.fixture
def copy(made, tmp_path):
    """The same, to be broken."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_find_says_what_an_adapter_is(made, tmp_path):
    found = adapters.find(made / "adapter")
    assert (found.path, found.base, found.rank, found.kind) == (made / "adapter", made / "base", 4, "LORA")
    assert found.targets == tuple(sorted(LINEAR))
    assert adapters.find(made / "base") is None
    assert adapters.find(tmp_path / "nothing") is None


def test_find_takes_an_absolute_base_the_largest_rank_and_a_pattern_of_targets(made, tmp_path):
    one = adapt(tmp_path / "one", made / "base", target_modules=r".*\.(q_proj|v_proj)", rank_pattern={"v_proj": 6})
    found = adapters.find(one)
    assert (found.base, found.rank, found.targets) == (made / "base", 6, (r".*\.(q_proj|v_proj)",))


def test_an_adapter_is_not_merged_and_keeps_the_class_and_signature_of_its_base(made):
    import inspect

    import torch

    base, _ = models.load(made / "base", CPU)
    model, _ = models.load(made / "adapter", CPU)
    assert type(model) is type(base) and not model.training
    assert inspect.signature(model.forward) == inspect.signature(base.forward)
    own = model.model.layers[0].self_attn.q_proj
    assert torch.equal(own.base_layer.weight, base.model.layers[0].self_attn.q_proj.weight)
    assert not any(weight.requires_grad for name, weight in model.named_parameters() if "lora" in name)


def test_an_adapter_computes_what_the_merged_model_computes(made):
    import torch

    ids = torch.tensor([[5, 9, 30, 2, 17, 8, 44]])
    logits = {name: models.load(made / name, CPU)[0](input_ids=ids).logits for name in ("adapter", "merged", "base")}
    assert torch.allclose(logits["adapter"], logits["merged"], atol=1e-4)
    assert not torch.allclose(logits["adapter"], logits["base"], atol=0.1)


def test_loaded_for_training_an_adapter_is_a_whole_model_that_trains(made):
    import torch

    plain, _ = models.load(made / "merged", CPU)
    model, _ = models.load(made / "adapter", CPU, train=True)
    assert {name for name, _ in model.named_parameters()} == {name for name, _ in plain.named_parameters()}
    assert all(weight.requires_grad for weight in model.parameters())
    for name, weight in plain.named_parameters():
        assert torch.allclose(model.get_parameter(name), weight, atol=1e-6), name
    half, _ = models.load(made / "adapter", replace(CPU, dtype="bfloat16"), train=True)
    for name, weight in plain.named_parameters():
        assert torch.allclose(half.get_parameter(name).float(), weight.bfloat16().float(), atol=2e-3), name


def test_the_dtype_is_that_of_the_device(made):
    import torch

    model, _ = models.load(made / "adapter", replace(CPU, dtype="bfloat16"))
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_the_digest_is_of_the_adapter_and_of_its_base(copy, made):
    before = models.digest(copy / "adapter")
    assert before == models.digest(made / "adapter") != models.digest(copy / "base")
    assert len(before) == 16
    config = copy / "base" / "generation_config.json"
    config.write_text(config.read_text() + " ")
    other_base = models.digest(copy / "adapter")
    weights = copy / "adapter" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    assert len({before, other_base, models.digest(copy / "adapter")}) == 3


def test_a_base_on_the_hub_is_taken_from_its_cache_and_named_by_its_id(copy, monkeypatch):
    import huggingface_hub

    asked = []

    def stored(name, revision=None, local_files_only=False, **_):
        asked.append((name, revision, local_files_only))
        return str(copy / "base")

    change(copy / "adapter", base_model_name_or_path="nobody/base", revision="abc")
    adapters.check(copy / "adapter")
    assert models.named(copy / "adapter") == f"{modelfiles.digest(copy / 'adapter')} on nobody/base"
    assert asked == []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", stored)
    assert adapters.find(copy / "adapter").base == copy / "base"
    assert asked == [("nobody/base", "abc", True)]


def test_a_base_that_is_not_in_the_cache_is_fetched(copy, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fetched(name, local_files_only=False, **_):
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        return str(copy / "base")

    change(copy / "adapter", base_model_name_or_path="nobody/base")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    assert adapters.find(copy / "adapter").base == copy / "base"


def test_the_tokenizer_is_the_adapters_own_or_its_bases(copy):
    assert models.load_tokenizer(copy / "adapter").chat_template is None
    (copy / "adapter" / "chat_template.jinja").write_text(TEMPLATE)
    words = models.load_tokenizer(copy / "adapter")
    assert words.chat_template == TEMPLATE and words("ab")["input_ids"] == tokenizer()("ab")["input_ids"]
    tokenizer(TEMPLATE + "!").save_pretrained(copy / "adapter")
    assert models.load_tokenizer(copy / "adapter").chat_template == TEMPLATE + "!"


def _no_base(folder):
    shutil.rmtree(folder / "base")


def _base_of_another_shape(folder):
    shutil.rmtree(folder / "base")
    save(folder / "base", hidden_size=48)


def _base_with_fewer_layers(folder):
    shutil.rmtree(folder / "base")
    save(folder / "base", num_key_value_heads=2, num_hidden_layers=1)


def _base_with_more_layers(folder):
    shutil.rmtree(folder / "base")
    save(folder / "base", num_key_value_heads=2, num_hidden_layers=3)


def _other_architecture(folder):
    shutil.rmtree(folder / "base")
    save(folder / "base", kind="gpt2")


def _no_weights(folder):
    (folder / "adapter" / "adapter_model.safetensors").rename(folder / "adapter" / "adapter_model.bin")


def _cut_weights(folder):
    file = folder / "adapter" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def _broken_json(folder):
    (folder / "adapter" / "adapter_config.json").write_text("{")


def _no_peft_type(folder):
    change(folder / "adapter", peft_type=None)


def _unknown_peft_type(folder):
    change(folder / "adapter", peft_type="NOTHING")


def _base_not_named(folder):
    change(folder / "adapter", base_model_name_or_path=None)


def _adapter_of_an_adapter(folder):
    shutil.copytree(folder / "adapter", folder / "second")
    change(folder / "adapter", base_model_name_or_path="../second")


def _whole_model_beside_it(folder):
    shutil.copytree(folder / "base", folder / "adapter", dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (_no_base, "base is gone: no folder '../base'"),
        (_base_of_another_shape, "cannot put the adapter on its base: .*size mismatch"),
        (_base_with_fewer_layers, "does not fit: 14 tensors of it have no place in the base"),
        (_base_with_more_layers, "does not fit: 14 tensors of it are missing"),
        (_other_architecture, "cannot put the adapter on its base: .*not found in the base"),
        (_no_weights, r"no \*.safetensors here; found adapter_model.bin"),
        (_cut_weights, "cannot read the adapter"),
        (_broken_json, "not JSON"),
        (_no_peft_type, "peft_type is missing"),
        (_unknown_peft_type, "cannot put the adapter on its base: .*NOTHING"),
        (_base_not_named, "does not say which base"),
        (_adapter_of_an_adapter, "base is an adapter itself"),
        (_whole_model_beside_it, "a whole model .* and an adapter"),
    ],
)
def test_a_broken_adapter_is_an_error_with_its_cause(copy, breakage, words):
    breakage(copy)
    with pytest.raises(ModelError, match=words) as caught:
        models.load(copy / "adapter", CPU)
    assert str(copy) in caught.value.where


@pytest.mark.parametrize("breakage", [_no_base, _no_weights, _broken_json, _base_not_named, _adapter_of_an_adapter])
def test_check_finds_it_before_any_work(copy, breakage):
    models.check(copy / "adapter")
    breakage(copy)
    with pytest.raises(ModelError):
        models.check(copy / "adapter")


def test_other_kinds_of_layers_work(made, tmp_path):
    import torch

    path = adapt(tmp_path / "ia3", made / "base", kind="IA3", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])
    assert adapters.find(path).rank == 0
    plain, _ = models.load(merged(tmp_path / "merged", path, made / "base"), CPU)
    model, _ = models.load(path, CPU)
    ids = torch.tensor([[5, 9, 30, 2, 17]])
    assert torch.allclose(model(input_ids=ids).logits, plain(input_ids=ids).logits, atol=1e-4)


def test_an_adapter_of_the_prompt_is_refused(made, tmp_path):
    path = adapt(tmp_path / "prompt", made / "base", kind="PromptTuning", num_virtual_tokens=3)
    with pytest.raises(ModelError, match="PROMPT_TUNING works on the prompt"):
        models.load(path, CPU)


def test_a_head_that_only_the_adapter_has_is_loaded(made, tmp_path):
    import torch

    path = adapt(tmp_path / "reward", made / "base", model="SequenceClassification", task_type="SEQ_CLS")
    assert "score.weight" in adapters.provided(adapters.find(path))
    model, _ = models.load(path, replace(CPU), kind="SequenceClassification")
    model.config.pad_token_id = 0
    ids = torch.tensor([[5, 9, 30, 2, 17]])
    again, _ = models.load(path, CPU, kind="SequenceClassification")
    again.config.pad_token_id = 0
    assert torch.equal(model(input_ids=ids).logits, again(input_ids=ids).logits)  # random without the adapter's head
    with pytest.raises(ModelError, match="does not fit"):
        models.load(path, CPU)
    with pytest.raises(ModelError, match="do not fill the model"):
        models.load(made / "adapter", CPU, kind="SequenceClassification")


def _answers(folder: Path, texts: list[str], **sampler) -> list[dict]:
    """Rows of the backend `transformers`, prompt by prompt."""
    how = spec(generate={"max_tokens": 12} | sampler).generate
    backend = backends.load("transformers")
    model = Model(models.digest(folder), folder)
    made = backend(Job(backend.Params(), how, 3, None, model, CPU, 5, 0, "generations", False, folder / "spec.yaml"))
    asks = made.prepare(prompts(texts).select(["prompt_id", "messages"]))
    found = [row for rows in made.generate(asks.combine_chunks().to_batches()[0]) for row in rows.to_pylist()]
    return sorted(found, key=lambda row: (row["prompt_id"], row["sample"]))


@pytest.mark.parametrize("how", [{"temperature": 0.0}, {"temperature": 1.0, "top_p": 0.9}])
def test_an_answer_of_the_adapter_is_that_of_the_merged_model(made, how):
    texts = ["a+b", "12+30=", "hello", "x", "what is it?"]
    one, two, base = (_answers(made / name, texts, **how) for name in ("adapter", "merged", "base"))
    for own, other in zip(one, two, strict=True):
        assert [own[name] for name in ("prompt_id", "response", "response_tokens")] == [
            other[name] for name in ("prompt_id", "response", "response_tokens")
        ]
        assert own["logprob"] == pytest.approx(other["logprob"], abs=0.011)  # the second decimal may round the other way
    assert [row["response"] for row in one] != [row["response"] for row in base]
    assert {row["model"] for row in one} == {models.digest(made / "adapter")}


@pytest.mark.parametrize("lora", [None, {"r": 2}])
def test_training_starts_from_the_merged_adapter(tmp_path, lora):
    import torch

    base = train_small.untrained(tmp_path / "base")
    adapt(tmp_path / "adapter", base)
    merged(tmp_path / "merged", tmp_path / "adapter", base)
    found = {}
    for name in ("adapter", "merged", "base"):
        one = train_small.job(tmp_path / f"of-{name}", tmp_path / name, max_steps=3, lora=lora)
        found[name] = train_small.sft(one)
        assert not (one.out / "adapter_config.json").exists()
    assert found["adapter"].loss == pytest.approx(found["merged"].loss, rel=1e-4)
    assert abs(found["adapter"].loss - found["base"].loss) > 1e-3
    start, after = (models.load(folder, CPU)[0] for folder in (tmp_path / "merged", found["adapter"].folder))
    moved = [name for name, weight in start.named_parameters() if not torch.allclose(weight, after.get_parameter(name), atol=1e-5)]
    assert len(moved) >= 7


@pytest.mark.slow
def test_an_experiment_starts_from_an_adapter_and_another_one_answers(tmp_path):
    """The first policy is an adapter, which generates, passes the gate and is trained on; a second adapter answers beside it."""
    loop_home.write(tmp_path)
    loop_home.load(tmp_path).run(until=-1)
    base = next((tmp_path / "checkpoints").iterdir())
    experiments = tmp_path / "experiments"
    adapt(experiments / "first", base, target_modules=["q_proj", "v_proj"])
    adapt(experiments / "second", base, named=os.path.relpath(base, experiments / "second"), target_modules=["up_proj"])
    text = loop_home.YAML[: loop_home.YAML.index("base:")] + loop_home.YAML[loop_home.YAML.index("prompts:") :]
    text = text.replace("rounds: 3", "rounds: 2\nmodels: {policy: ./first}").replace(
        "generate: {", "generate: {actors: [{name: policy}, {name: other, model: ./second}], "
    )
    loop_home.write(tmp_path, text, name="adapted")
    made = loop_home.load(tmp_path, name="adapted")
    made.run()
    digests = {name: models.digest(experiments / name) for name in ("first", "second")}
    rows = made.lake.read("generations", experiment="adapted", rounds=[0], part="rollout").to_pylist()
    assert {(row["actor"], row["model"]) for row in rows} == {("policy", digests["first"]), ("other", digests["second"])}
    trained = {row["round"]: row for row in made.lake.read("checkpoints", experiment="adapted").to_pylist()}
    assert (trained[-1]["digest"], trained[-1]["objective"]) == (digests["first"], "imported")
    assert trained[0]["parents"] == [digests["first"]] and trained[1]["parents"] == [trained[0]["digest"]]
    assert [done.state for done in made.run()] == []


def test_what_reads_answers_reads_them_with_the_adapter(made, tmp_path):
    """Measures and embedders of a policy that is an adapter say what they say of the merged model."""
    import numpy as np

    def read(method: str, suffix: str = "") -> dict[str, list[float | None]]:
        """A column of a measure with each of the models as policy."""
        contexts = {name: ReadContext(tmp_path / method / name, {"policy": made / name}) for name in ("adapter", "merged", "base")}
        return {name: values(measure(method).measure(ctx, rollouts(TEXTS)), suffix) for name, ctx in contexts.items()}

    total, head = read("logprob"), read("head_gradient", "_norm2")
    assert total["adapter"] == pytest.approx(total["merged"], abs=0.011) and total["adapter"] != pytest.approx(total["base"], abs=0.5)
    assert head["adapter"] == pytest.approx(head["merged"], rel=1e-3)
    made_by = embedders.load("hidden_state")
    vectors = {
        name: made_by(made_by.Params(), tmp_path / "spec.yaml", Model(models.digest(made / name), made / name), CPU).embed(["1+1=2", "hi"])
        for name in ("adapter", "merged", "base")
    }
    assert np.allclose(vectors["adapter"], vectors["merged"], atol=2e-4) and not np.allclose(vectors["adapter"], vectors["base"], atol=0.01)


def test_an_adapter_over_the_output_head_has_no_closed_form(tmp_path):
    base = save(tmp_path / "untied", tie_word_embeddings=False)
    path = adapt(tmp_path / "head", base, target_modules=["lm_head", "q_proj"])
    with pytest.raises(StepError, match="adapter stands over the model's output head"):
        measure("head_gradient").measure(ReadContext(tmp_path, {"policy": path}), rollouts(TEXTS))


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:Setting `save_embedding_layers`")
def test_an_adapter_over_tied_embeddings_is_not_merged(made, tmp_path):
    path = adapt(tmp_path / "head", made / "base", target_modules=["lm_head", "q_proj"])
    models.load(path, CPU)
    with pytest.raises(ModelError, match="input and output embeddings, which this base shares"):
        models.load(path, CPU, train=True)
