"""The adapter that a training trains: a new one on the model, or the one that the model is; and what is saved of it.

LoRA: Hu et al., ICLR 2022, arXiv 2106.09685; everything through PEFT. An adapter that is kept as one (`train.lora.save: adapter`)
trains on in the next round on the same base: adapters are never stacked. What PiSSA and OLoRA take out of the base goes back into
the adapter when it is saved, as a LoRA of twice the rank: B A - B0 A0 (PEFT's conversion).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import adapters
from engine.errors import StepError
from engine.modelfiles import ADAPTER_WEIGHTS
from engine.train import Job

if TYPE_CHECKING:
    from engine.parts.lora import Lora

INITIAL = "initial"  # folder of the first values, below the trainer's states
HINT = "set train.lora.save: merged or train.init: base, or give the settings of the adapter"
TASKS = {"CausalLM": "CAUSAL_LM", "SequenceClassification": "SEQ_CLS"}  # of the second the new head trains whole, beside the adapter


class Adapter:
    """`base`: the folder of the model that it stands on; `kept`: whether the checkpoint will be the adapter alone."""

    def __init__(self, job: Job, lora: Lora, kind: str) -> None:
        self.job, self.lora, self.kind = job, lora, kind
        self.kept = lora.save == "adapter"
        if self.kept and kind != "CausalLM":
            raise StepError(
                "a model with a new head is no adapter of its base alone",
                where=f"train, role {job.settings.role}",
                hint="set lora.save: merged",
            )
        self.earlier = adapters.find(job.model) if self.kept else None
        self.base = self.earlier.base if self.earlier else job.model

    def config(self, model: Any) -> Any:
        """PEFT's config for `model`, the base. StepError where the adapter to go on with was made with other settings."""
        if self.earlier:
            return self._going_on(model)
        from peft import EvaConfig, LoraConfig

        lora, first = self.lora, {"default": True}
        more = {"eva_config": EvaConfig(rho=lora.rho, tau=lora.tau)} if lora.init == "eva" else {}
        return LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
            rank_pattern=dict(lora.rank_pattern),
            use_dora=lora.variant == "dora",
            use_rslora=lora.variant == "rslora",
            init_lora_weights=first.get(lora.init, lora.init),
            task_type=TASKS.get(self.kind, "CAUSAL_LM"),
            **more,
        )

    def begin(self, trainer: Any, collator: Any, steps: int) -> None:
        """The first values, once the trainer has put the adapter on: those of the earlier adapter, or of EVA."""
        if self.earlier:
            from peft import load_peft_weights, set_peft_model_state_dict

            found = set_peft_model_state_dict(trainer.model, load_peft_weights(str(self.earlier.path), device="cpu"))
            if found.unexpected_keys:
                raise StepError(f"the adapter does not fit its base: no place for {found.unexpected_keys[0]}", where=str(self.earlier.path))
        elif self.lora.init == "eva":
            from engine.train.eva import initialise

            initialise(trainer.model, collator, steps, self.job.settings.role)
        if self.kept and self.lora.changes_base:  # PEFT subtracts these when the adapter is saved
            trainer.model.save_pretrained(self.job.state / INITIAL, save_embedding_layers=False)
            change(self.job.state / INITIAL, init_lora_weights=True)

    def save(self, model: Any, out: Path) -> None:
        """The adapter alone, in float32, into `out`; its config names the base's folder (see `engine.train.checkpoint.publish`)."""
        more = {"path_initial_model_for_weight_conversion": str(self.job.state / INITIAL)} if self.lora.changes_base else {}
        model.save_pretrained(out, save_embedding_layers=False, **more)
        (out / "README.md").unlink(missing_ok=True)  # PEFT's card says nothing that rondo.json does not
        change(out, base_model_name_or_path=str(self.base.absolute()))

    def _going_on(self, model: Any) -> Any:
        """The config of the earlier adapter, whose weights come with `begin`."""
        from peft import LoraConfig, PeftConfig

        assert self.earlier is not None
        config, lora = PeftConfig.from_pretrained(str(self.earlier.path)), self.lora
        where = f"train, role {self.job.settings.role}, and {self.earlier.path}"
        if not isinstance(config, LoraConfig) or lora.changes_base:
            what = f"init: {lora.init} needs a whole model to start from" if lora.changes_base else f"the adapter is a {self.earlier.kind}"
            raise StepError(f"this training cannot go on with the adapter that it starts from: {what}", where=where, hint=HINT)
        asked: dict[str, Any] = {"r": lora.r, "alpha": lora.alpha, "dora": lora.variant == "dora", "rslora": lora.variant == "rslora"}
        found: dict[str, Any] = {"r": config.r, "alpha": config.lora_alpha, "dora": config.use_dora, "rslora": config.use_rslora}
        if lora.init != "eva":  # EVA has given each layer a rank of its own
            asked, found = asked | {"rank_pattern": lora.rank_pattern}, found | {"rank_pattern": dict(config.rank_pattern)}
        own, wanted = _adapted(self.earlier), _targets(model, lora.targets)
        if not (own <= wanted if lora.init == "eva" else own == wanted):
            asked, found = asked | {"targets": sorted(wanted - own)[:3]}, found | {"targets": sorted(own - wanted)[:3]}
        if other := [name for name in asked if asked[name] != found[name]]:
            text = ", ".join(f"{name} is {found[name]}, the spec says {asked[name]}" for name in other)
            raise StepError(f"this training cannot go on with the adapter that it starts from: {text}", where=where, hint=HINT)
        config.lora_dropout, config.init_lora_weights, config.inference_mode = lora.dropout, True, False
        config.eva_config = None
        return config


def change(path: Path, **values: Any) -> None:
    """Sets values of an adapter's config, and puts its lists of modules, which PEFT keeps as sets, in order."""
    file = path / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | values
    for name, value in config.items():
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            config[name] = sorted(value)
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _adapted(adapter: adapters.Adapter) -> set[str]:
    """The modules that an adapter's file has factors for."""
    from safetensors import safe_open

    with safe_open(adapter.path / ADAPTER_WEIGHTS, framework="numpy") as tensors:
        names = list(tensors.keys())
    return {name.removeprefix(adapters.PREFIX).partition(".lora_")[0] for name in names if ".lora_" in name}


def _targets(model: Any, targets: tuple[str, ...] | str) -> set[str]:
    """The modules of the base that the spec's targets mean: names or endings of names; all-linear: all but the output head."""
    from torch.nn import Linear

    if targets == "all-linear":
        head = model.get_output_embeddings()
        return {name for name, module in model.named_modules() if isinstance(module, Linear) and module is not head}
    return {name for name, _ in model.named_modules() if any(name == one or name.endswith(f".{one}") for one in targets)}
