"""Adapters that train: their first values, what is kept of them, and how the next round goes on."""

from pathlib import Path

import pytest
import torch

import adapters_tiny
import pairs_small
from engine import adapters, models
from engine.errors import StepError
from engine.spec import Lora, Train
from engine.train.adapter import Adapter
from engine.train.log import Log
from engine.train.state import Consumed
from train_small import CPU, Events, files, job, selected, settings, sft, sums, untrained

KEPT = {"r": 2, "alpha": 8, "save": "adapter"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model") / "untrained")


def logits(folder: Path, text: str = "Add 3 and 2.") -> torch.Tensor:
    net, tokenizer = models.load(folder, CPU)
    with torch.no_grad():
        return net(torch.tensor([tokenizer(text)["input_ids"]])).logits


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def trainer(tmp_path: Path, model: Path, lora: Lora):
    """The trainer of an SFT job whose adapter has its first values, and the job's base."""
    from engine.train.methods.sft import trainer as made
    from engine.train.quiet import quiet
    from engine.train.running import Running

    with quiet():
        running = Running(job(tmp_path, model, lora=lora))
        examples = running.encoder("assistant").encode(selected(sums()))
        plan = [list(range(i, i + 4)) for i in range(0, 24, 4)]
        return made(running, examples, Consumed(plan, [e.row_id for e in examples]), Log(10, 6))


@pytest.mark.parametrize("init", ["default", "gaussian", "orthogonal", "pissa", "pissa_niter_16", "olora", "eva"])
def test_nothing_changes_at_the_start(tmp_path, model, init):
    before = logits(model)
    net = trainer(tmp_path, model, Lora(r=4, alpha=8, init=init)).model
    ids = torch.tensor([models.load_tokenizer(model)("Add 3 and 2.")["input_ids"]])
    with torch.no_grad():
        assert (net.eval()(ids).logits - before).abs().max() < 1e-4


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_16"])
def test_pissa_takes_the_largest_directions_out_of_the_base(tmp_path, model, init):
    whole, _ = models.load(model, CPU)
    net = trainer(tmp_path, model, Lora(r=4, alpha=8, init=init)).model
    for name, module in net.get_base_model().named_modules():
        if name.endswith("q_proj"):
            weight, left = whole.get_submodule(name).weight, module.base_layer.weight
            taken = (weight - left).detach()
            assert int(torch.linalg.matrix_rank(taken, atol=1e-5)) == 4
            largest = torch.linalg.svdvals(weight)[:4]
            assert torch.allclose(torch.linalg.svdvals(taken)[:4], largest, atol=2e-3 if "niter" in init else 1e-5)


def test_eva_gives_ranks_to_layers_and_starts_from_zero(tmp_path, model):
    one = trainer(tmp_path / "one", model, Lora(r=5, alpha=10, init="eva")).model
    two = trainer(tmp_path / "two", model, Lora(r=5, alpha=10, init="eva")).model
    weights = dict(one.named_parameters())
    first = {name: w for name, w in weights.items() if "lora_A" in name}
    layers = sum(isinstance(module, torch.nn.Linear) for module in models.load(model, CPU)[0].model.modules())
    assert sum(len(w) for w in first.values()) == 5 * layers
    assert max(len(w) for w in first.values()) <= 10 and len({len(w) for w in first.values()}) > 1
    assert all(not w.any() for name, w in weights.items() if "lora_B" in name)
    for name, w in first.items():  # right singular vectors, the same again from the same rows
        assert torch.allclose(w @ w.T, torch.eye(len(w)), atol=1e-4)
        assert torch.equal(w, dict(two.named_parameters())[name])


def test_eva_looks_at_target_tokens_alone(tmp_path, model):
    from engine.train.eva import _batches

    found = trainer(tmp_path, model, Lora(r=4, alpha=8, init="eva"))
    batches = _batches(found.data_collator, 6, 40)
    targets = [int((batch["labels"] != -100).sum()) for batch in batches]
    whole = [found.data_collator([{"batch": i}])["weights"] for i in range(6)]
    assert sum(targets) == sum(int((w > 0).sum()) for w in whole) and min(targets) >= 40
    assert sum(len(batch["labels"]) for batch in batches) == 24
    with pytest.raises(StepError, match=r"the rows have \d+ target tokens"):
        trainer(tmp_path / "few", model, Lora(r=500, alpha=8, init="eva"))


def test_settings_reach_peft(tmp_path, model):
    lora = Lora(r=4, alpha=8, variant="rslora", rank_pattern={"q_proj": 2}, dropout=0.1)
    config = Adapter(job(tmp_path, model, lora=lora), lora, "CausalLM").config(None)
    assert (config.r, config.use_rslora, config.use_dora, config.rank_pattern, config.lora_dropout) == (4, True, False, {"q_proj": 2}, 0.1)
    net = trainer(tmp_path, model, Lora(r=4, variant="dora")).model
    assert any("lora_magnitude_vector" in name for name, w in net.named_parameters() if w.requires_grad)


@pytest.mark.parametrize("more", [{}, {"variant": "dora"}, {"variant": "rslora"}, {"init": "pissa"}, {"init": "olora"}, {"init": "eva"}])
def test_an_adapter_kept_says_what_the_merged_model_says(tmp_path, model, more):
    lora = {"r": 2, "alpha": 8, "targets": ("q_proj", "v_proj", "down_proj"), **more}
    merged = sft(job(tmp_path / "merged", model, max_steps=3, lora=Lora(**lora)))
    kept = sft(job(tmp_path / "kept", model, max_steps=3, lora=Lora(**lora, save="adapter")))
    assert kept.loss == merged.loss and adapters.is_adapter(kept.folder) and not (kept.folder / "README.md").exists()
    own, base = logits(kept.folder), logits(model)
    assert (own - logits(merged.folder)).abs().max() < 1e-4 < (own - base).abs().max()
    ranks = {w.shape[0] for name, w in tensors(kept.folder).items() if "lora_A" in name}
    assert more.get("init") == "eva" or ranks == {4 if more.get("init") in ("pissa", "olora") else 2}


@pytest.mark.parametrize("more", [{"variant": "dora", "dropout": 0.3}, {"init": "pissa_niter_4"}, {"init": "eva"}])
def test_a_kept_adapter_goes_on_after_a_kill(tmp_path, model, more):
    lora = Lora(**KEPT | more)
    whole = sft(job(tmp_path / "whole", model, lora=lora))
    with pytest.raises(KeyboardInterrupt):
        sft(job(tmp_path / "cut", model, lora=lora, progress=Events(stop_at=6)))
    again = sft(job(tmp_path / "cut", model, lora=lora))
    assert again.detail["resumed_at"] == 4 and again.loss == whole.loss
    assert files(again.folder) == files(whole.folder)


@pytest.mark.parametrize("more", [{}, {"variant": "dora"}, {"init": "eva"}])
def test_the_next_round_trains_the_same_adapter_on_the_same_base(tmp_path, model, more):
    lora = Lora(**KEPT | more)
    one = sft(job(tmp_path / "one", model, max_steps=6, lora=lora))
    two = sft(job(tmp_path / "two", one.folder, max_steps=6, lora=lora))
    found = adapters.find(two.folder)
    assert found is not None and found.base == adapters.find(one.folder).base == model
    first, second = tensors(one.folder), tensors(two.folder)
    assert {name: w.shape for name, w in first.items()} == {name: w.shape for name, w in second.items()}
    assert all(not torch.equal(w, second[name]) for name, w in first.items())
    assert two.loss < one.loss
    # not a step: what comes out is what went in
    still = sft(job(tmp_path / "still", one.folder, max_steps=1, lora=lora, learning_rate=1e-30))
    assert (logits(still.folder) - logits(one.folder)).abs().max() < 1e-6


def test_an_adapter_of_other_settings_is_refused(tmp_path, model):
    one = sft(job(tmp_path / "one", model, max_steps=1, lora=Lora(**KEPT, targets=("q_proj",)))).folder
    wrong = {
        "r is 2, the spec says 4": {"r": 4},
        "alpha is 8.0, the spec says 16.0": {"alpha": 16},
        "dora is False": {"variant": "dora"},
        "targets is": {"targets": ("q_proj", "v_proj")},
        "rank_pattern": {"rank_pattern": {"q_proj": 3}},
    }
    for text, more in wrong.items():
        with pytest.raises(StepError, match=text):
            sft(job(tmp_path / "two", one, lora=Lora(**KEPT | {"targets": ("q_proj",)} | more)))
    with pytest.raises(StepError, match="needs a whole model"):
        sft(job(tmp_path / "two", one, lora=Lora(**KEPT, init="pissa"), init="base"))
    merged = sft(job(tmp_path / "merged", one, max_steps=1, lora=Lora(r=4, alpha=16)))  # a new one on the merged model is no stack
    assert not adapters.is_adapter(merged.folder)


def test_an_adapter_from_elsewhere_trains_on(tmp_path, model):
    theirs = adapters_tiny.adapt(tmp_path / "theirs", model, r=2, lora_alpha=8)
    two = sft(job(tmp_path / "two", theirs, max_steps=1, learning_rate=1e-30, lora=Lora(**KEPT)))
    assert (logits(two.folder) - logits(theirs)).abs().max() < 1e-6
    other = adapters_tiny.adapt(tmp_path / "other", model, kind="IA3", target_modules=["q_proj"], feedforward_modules=[])
    with pytest.raises(StepError, match="the adapter is a IA3"):
        sft(job(tmp_path / "three", other, lora=Lora(**KEPT)))


NORMAL = {"dpo", "tpo", "orpo"}  # with a reference, with a third answer, without a reference


@pytest.mark.parametrize(
    "objective", [pytest.param(name, marks=() if name in NORMAL else pytest.mark.slow) for name in pairs_small.pair_objectives()]
)
def test_pairs_train_an_adapter(tmp_path, model, objective):
    one = pairs_small.pairs_job(tmp_path, model, objective=objective, max_steps=2, lora=Lora(**KEPT))
    made = pairs_small.fit(one)
    assert adapters.is_adapter(made.folder)
    assert (logits(made.folder) - logits(model)).abs().max() > 1e-6


def test_a_spec_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="cannot train on in the next round"):
        settings(init="previous", lora={"save": "adapter", "init": "pissa"})
    with pytest.raises(ValueError, match="twice the rank"):
        Lora(save="adapter", init="pissa", variant="dora")
    with pytest.raises(ValueError, match="eva gives ranks"):
        Lora(init="eva", variant="dora")
    with pytest.raises(ValueError, match="expected default, gaussian"):
        Lora(init="pizza")
    assert Train.model_validate(settings(lora={"init": "pissa_niter_16"}).model_dump()).lora.changes_base
