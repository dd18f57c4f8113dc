"""How models are trained, measured and promoted."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from engine.parts.choose import Pairs, Select
from engine.parts.continuing import EarlyStop, Half, Replay, Shape
from engine.parts.generate import Sampler
from engine.parts.lora import Lora
from engine.parts.part import Batch, Device, F, Memory, Part, Paths, Slug


class Optimizer(Part):
    learning_rate: float = F(1e-5, "peak", gt=0)
    schedule: Literal["linear", "cosine", "constant", "wsd", "infinite", "power", "rex", "refined"] = F(
        "linear", "after the warm-up; refined: from the gradient norms of the role's last training"
    )
    shape: Shape = F(Shape(), "numbers of the schedule's own")
    warmup_steps: int = F(0, "steps of linear rise", "steps", ge=0)
    warmup_share: float = F(0.0, "the same as a share of the schedule's steps; give one of the two", ge=0, lt=1)
    min_lr_ratio: float = F(0.0, "the schedule ends at this share of the peak", ge=0, le=1)
    optimizer: Literal["adamw", "rmsprop", "sgd", "adafactor"] = F("adamw", "what moves the weights")
    weight_decay: float = F(0.0, "decoupled with adamw", ge=0)
    betas: tuple[float, float] = F((0.9, 0.999), "AdamW")
    clip: float = F(1.0, "largest gradient norm", gt=0)
    batch_size: int = F(8, "rows a step", "rows", gt=0)
    epochs: float = F(1.0, "passes over the rows, unless max_steps is given", "passes", gt=0)
    max_steps: int | None = F(None, "optimizer steps", "steps", gt=0)
    max_length: int = F(1024, "a longer row is an error", "tokens", gt=0)
    save_every: int = F(100, "a killed training repeats at most this many steps", "steps", gt=0)
    mask: Literal["assistant", "last", "message"] = F(
        "assistant", "tokens that train: all assistant messages, the last one, or by each message's weight"
    )
    log_every: int = F(10, "steps whose means make one entry of training_log", "steps", gt=0)
    diverge: float | None = F(20.0, "a loss above this many times that of the first steps (at least 1) ends the training; null: none", gt=1)
    lora: Lora | None = F(None, "train an adapter")
    micro_batch: int | None = F(
        None, "rows a forward pass, for batches that do not fit the memory; the gradient is that of the whole batch", "rows", gt=0
    )
    gradient_checkpointing: bool | Literal["auto"] = F(
        "auto", "keep few activations and compute the others again in the backward pass; auto: on a GPU, where memory is short"
    )

    @model_validator(mode="after")
    def _floored(self) -> Optimizer:
        if self.warmup_steps and self.warmup_share:
            raise ValueError(f"warmup_share: give it or warmup_steps, found {self.warmup_share} and {self.warmup_steps}")
        if self.schedule == "infinite" and self.shape.decay_share and not self.min_lr_ratio:
            raise ValueError(
                "min_lr_ratio: the infinite schedule anneals by a factor a step, so it needs a rate above 0 to end at, e.g. 0.05"
            )
        if self.schedule == "infinite" and self.min_lr_ratio > self.shape.constant:
            raise ValueError(f"min_lr_ratio: {self.min_lr_ratio} is above shape.constant ({self.shape.constant}), so the anneal would rise")
        return self


PREVIOUS, STARTED, OWN, NONE = "previous", "base", "own", "none"  # models that an entry of `train` may name beside roles
EARLIER = re.compile(r"policy-([1-9]\d*)")  # the policy of so many rounds ago
Number = Annotated[float, Field(ge=0, le=1)]


class Train(Optimizer):
    role: Slug = F("policy", "the model that this trains")
    objective: str = F("sft", "method of engine/train/methods")
    init: Slug = F(
        ...,
        "train from: previous (the last promoted policy), base, own (this role's checkpoint of an earlier round; base where there is "
        "none), or another role, whose checkpoint of this round it is",
    )
    reference: Slug | dict[Slug, Number] = F(
        ..., "model that the objective compares with: none, or one as in init; {base: 0.3, previous: 0.7} mixes their log-probabilities"
    )
    data: str = F(
        ...,
        "rows of this round alone (round), also of the N rounds before (last-N), or of all rounds and the base (cumulative)",
    )
    first: str | None = F(
        None, "base, or a folder with a model: what <role>-last means in `measure` and `compare` before the role has a checkpoint"
    )
    order: Literal["random", "selected"] = F("random", "rows by lot, or as the column `order` of selected says (smallest first)")
    select: Select | None = F(None, "demonstrations of this role; none: as `select` of the spec")
    pairs: Pairs | None = F(None, "pairs of this role; none: as `pairs` of the spec")
    params: dict[str, Any] = F({}, "settings of the objective's own")
    schedule_over: Literal["round", "experiment", "trunk"] = F(
        "round",
        "round: a schedule of its own each round, warmed up again; experiment: one over all rounds; trunk: warmed up once, every round "
        "decays at its end, and the next goes on from the weights before that decay, which are kept beside the checkpoint",
    )
    round_peak: float = F(1.0, "each round's peak as a share of that of the round before", gt=0)
    optimizer_state: Literal["fresh", "carried"] = F(
        "fresh", "carried: go on with the optimizer's moments of the checkpoint it starts from"
    )
    hold_out: EarlyStop | None = F(None, "rows that never train, and stop the training when their loss no longer falls")
    replay: Replay | None = F(None, "rows of earlier rounds beside those of this one; needs data: round")
    half: Half | None = F(None, "train half of the matrices, others each round")

    @property
    def continues(self) -> bool:
        """Whether the training looks at the role's earlier checkpoints beside the model that it starts from."""
        return self.schedule_over != "round" or self.optimizer_state == "carried" or self.schedule == "refined"

    @model_validator(mode="after")
    def _continuing(self) -> Train:
        whole = [name for name, given in (("half", self.half), ("schedule_over", self.schedule_over == "trunk")) if given]
        whole += ["optimizer_state"] if self.optimizer_state == "carried" else []
        if self.lora and whole:
            raise ValueError(
                f"{whole[0]}: an adapter is new in every round, so this works on whole models only; leave out lora or {whole[0]}"
            )
        if self.half and self.optimizer_state == "carried":
            raise ValueError(
                "half: other matrices train in each round, so the optimizer's moments cannot be carried; set optimizer_state: fresh"
            )
        if self.hold_out and self.schedule_over == "trunk":
            raise ValueError("hold_out: a training that stops early has no decay of its own; set schedule_over: round or experiment")
        if self.schedule_over == "trunk" and self.schedule not in ("wsd", "infinite", "power"):
            raise ValueError(f"schedule_over: trunk is for schedules with a decay at the end (wsd, infinite, power), found {self.schedule}")
        if self.replay and self.data != "round":
            raise ValueError(f"replay: adds rows of earlier rounds, and so does data: {self.data}; set data: round")
        return self

    @property
    def references(self) -> dict[str, float]:
        """The models of the reference with their weights; empty where there is none."""
        given = {self.reference: 1.0} if isinstance(self.reference, str) else self.reference
        return {name: weight for name, weight in sorted(given.items()) if name != NONE and weight}

    @property
    def sources(self) -> list[str]:
        """Every model that the entry names."""
        return sorted({self.init, *self.references})

    @model_validator(mode="after")
    def _mixed(self) -> Train:
        if not re.fullmatch(r"round|cumulative|last-[1-9]\d*", self.data):
            raise ValueError(f"data: expected 'round', 'cumulative' or 'last-N' (N rounds before this one), found {self.data!r}")
        if self.init == NONE:
            raise ValueError("init: a training starts from a model: previous, base, own or another role")
        if isinstance(self.reference, dict) and (NONE in self.reference or abs(sum(self.reference.values()) - 1) > 1e-9):
            raise ValueError(f"reference: expected weights of models that add up to 1, found {self.reference}")
        if self.lora and self.lora.save == "adapter" and self.lora.changes_base and self.init != STARTED:
            hint = "set init: base, or save: merged"
            raise ValueError(f"lora.save: an adapter that starts with {self.lora.init} cannot train on in the next round; {hint}")
        if self.role in self.sources:
            raise ValueError(f"init, reference: {self.role!r} is the role itself; `own` is its checkpoint of an earlier round")
        return self


class TinyModel(Part):
    hidden_size: int = F(64, "width", gt=0)
    layers: int = F(2, "decoder layers", gt=0)
    heads: int = F(4, "attention heads", gt=0)
    ffn: int = F(192, "width of the feed-forward part", gt=0)
    rope_theta: float = F(1000.0, "rotary base", gt=0)
    init_std: float = F(0.04, "standard deviation of the first weights", gt=0)
    positions: int = F(256, "longest sequence", "tokens", gt=0)
    vocabulary: int = F(390, "BPE entries at most", "tokens", gt=0)
    pieces: str = F(r"\d{1,2}| ?[A-Za-z]+[^A-Za-z0-9]*|[^A-Za-z0-9]", "regular expression of the pieces BPE merges within")


class Base(Part):
    data: Paths = F(..., "worked examples (files as in prompts) that a small model is pre-trained on")
    response: str = F("response", "column with the answer to learn")
    model: TinyModel = F(TinyModel(), "architecture and tokenizer")
    train: Optimizer = F(Optimizer(), "how it is trained")

    @model_validator(mode="after")
    def _whole(self) -> Base:
        if self.train.lora and self.train.lora.save == "adapter":
            raise ValueError("train.lora.save: the base is a whole model; set save: merged, or leave lora out")
        return self


class Evaluate(Sampler):
    temperature: float = F(0.0, "0 is greedy", ge=0)
    samples: int = F(1, "answers a held-out prompt", "answers", gt=0)
    backend: str | None = F(None, "method of engine/generate; none: as in generate")
    params: dict[str, Any] = F({}, "settings of the backend's own")
    batch: Batch = F(512, "answers that are sampled together; auto: as in generate", "answers")
    combine: str | None = F(None, "the combined score of held-out answers, where that of rollouts says little there; none: `combine`")
    metrics: tuple[str, ...] = F(("pass@1", "mean", "length", "unparseable"), "SQL files of sql/metrics; @k names k")
    by_topic: bool = F(True, "also every metric for each topic")


class Condition(Part):
    metric: str = F(..., "a metric of `evaluate`")
    min: float | None = F(None, "smallest allowed value")
    max: float | None = F(None, "largest allowed value")
    min_delta: float | None = F(None, "smallest allowed rise against `against`")
    against: Literal["previous", "base", "best"] = F("previous", "checkpoint to compare with: last promoted, base, best promoted")

    @model_validator(mode="after")
    def _some(self) -> Condition:
        if self.min is None and self.max is None and self.min_delta is None:
            raise ValueError("a condition needs min, max or min_delta")
        return self


class Gate(Part):
    on_fail: Literal["stop", "continue"] = F("stop", "stop the experiment, or go on from the last promoted")
    require: tuple[Condition, ...] = F((), "conditions on the gate split; none: every checkpoint is promoted")


class Stop(Part):
    """The learning curve of a metric of the gate split, fitted as -a x^-b + c; the experiment ends when the gain left is small."""

    metric: str = F("pass@1", "a metric of `evaluate`")
    x: Literal["rounds", "rows"] = F("rounds", "what the curve runs over: rounds trained, or rows trained so far")
    tau: float = F(0.01, "the predicted gain under which it stops", gt=0)
    min_points: int = F(4, "measured points before it may stop", "points", ge=3)
    patience: int = F(2, "rounds in a row whose curve must say so", "rounds", gt=0)
    max_asymptote: float = F(1.0, "largest value that the metric can have")
    weights: Literal["binomial", "variance", "equal"] = F(
        "binomial", "of a point p over n prompts in the fit: n p (1 - p), n / (p (1 - p)), or 1"
    )


class Compute(Part):
    device: Device = F("auto", "cpu, cuda, cuda:N; auto: the first GPU, else the CPU")
    threads: int | Literal["auto"] = F("auto", "CPU threads of torch; auto: cores that are free at the first run", "threads")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = F("auto", "auto: bfloat16 on a GPU, float32 on a CPU")
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = F(
        "auto", "auto: flash_attention_2 where its package, the GPU and the model have it, else sdpa, else eager"
    )
    memory_limit: Memory = F("1.5GB", "DuckDB memory before it spills to disk", "bytes with a suffix")
