"""The experiment spec: the only place where settings are declared. Every field has a type, a default, a unit and a line.

Loading files, `extends`, overrides and error places live in `engine.specfile`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def _slug(name: str) -> str:
    if not SLUG.fullmatch(name):
        raise ValueError("a name has 1-63 of a-z, 0-9, '-' and '_', and starts with a letter or digit")
    return name


def _scorer(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or name == "score":
        raise ValueError("a scorer name has 1-63 of a-z, 0-9 and '_', starts with a letter, and is not 'score'")
    return name


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("expected auto, cpu, cuda or cuda:N")
    return name


def _memory(size: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)? ?([KMGT]i?B|B)", size, re.IGNORECASE) or not float(re.sub(r"[^\d.]", "", size)):
        raise ValueError("expected a size with its unit, such as 1.5GB, 800MB or 4GiB")
    return size


Slug = Annotated[str, AfterValidator(_slug)]
ScorerName = Annotated[str, AfterValidator(_scorer)]
Device = Annotated[str, AfterValidator(_device)]
Memory = Annotated[str, AfterValidator(_memory)]
Paths = str | Annotated[list[str], Len(min_length=1)]


def F(default: Any, doc: str, unit: str = "", **limits: Any) -> Any:  # noqa: N802 - reads as the Field it makes
    """A field with its default (... where there is none), its one-line description, its unit and its limits."""
    return Field(default, description=doc, json_schema_extra={"unit": unit}, **limits)


class Part(BaseModel):
    """Base of every part of a spec: unknown keys are errors, values are not changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Models(Part):
    policy: str | None = F(None, "folder or hub id of the first policy; none where `base` trains it")
    trust_remote_code: bool = F(False, "let a model run code of its own repository")


class Holdout(Part):
    rows: int = F(..., "how many to hold out, the first in a fixed hash order", "prompts", gt=0)
    of: Literal["train", "test"] = F("train", "the split whose files they are taken from")


class Fields(Part):
    messages: str | None = F(None, "column with a list of {role, content}; replaces `template`")
    reference: str | None = F(None, "column with the reference answer")
    reference_pattern: str | None = F(None, "regular expression whose first group is the reference, e.g. '####\\s*(.+)'")
    task: str | None = F(None, "column with the task")
    topic: str | None = F(None, "column with the topic, for metrics by topic")
    difficulty: str | None = F(None, "column with a number")
    template: str = F("{prompt}", "user message made of columns in braces")
    system: str | None = F(None, "system message put first")


class Prompts(Part):
    train: Paths = F(..., "files (JSONL, Parquet, CSV) or a Hugging Face dataset folder that rounds draw from")
    gate: Paths | Holdout | None = F(None, "files, or rows held out, that decide promotion")
    test: Paths | Holdout | None = F(None, "files, or rows held out, that are only reported")
    per_round: int | None = F(None, "fresh prompts a round; none: all of them every round", "prompts", gt=0)
    epochs: int = F(1, "how often the pool may be used up before the prompts step fails", "passes", gt=0)
    fields: Fields = F(Fields(), "which column is what")
    duplicates: Literal["error", "first"] = F("error", "what a prompt that stands twice in one split means")


class Sampler(Part):
    temperature: float = F(1.0, "0 is greedy", ge=0)
    top_p: float = F(1.0, "share of probability mass to draw from", gt=0, le=1)
    top_k: int = F(0, "0: no limit", "tokens", ge=0)
    max_tokens: int = F(512, "longest answer", "tokens", gt=0)
    stop: tuple[str, ...] = F((), "strings that end an answer; they are cut off")


class Generate(Sampler):
    backend: str = F("transformers", "method of engine/generate")
    samples: int = F(8, "answers a prompt", "answers", gt=0)
    batch: int = F(512, "answers that are sampled together; does not change a row", "answers", gt=0)
    chat: bool | None = F(None, "use the model's chat template; none: where it has one")
    params: dict[str, Any] = F({}, "settings of the backend's own")


class Scorer(Part):
    verifier: str = F(..., "method of engine/score")
    name: ScorerName | None = F(None, "column in `scored`; none: the verifier's name")
    params: dict[str, Any] = F({}, "settings of the scorer's own")

    @property
    def column(self) -> str:
        """The scorer's name in tables and SQL."""
        return self.name or self.verifier


class Select(Part):
    sql: str = F(..., "SQL file, beside the spec or below sql/")
    params: dict[str, Any] = F({}, "values of the $names in the SQL")


class Lora(Part):
    r: int = F(16, "rank", gt=0)
    alpha: float = F(32, "scale; the update is multiplied by alpha / r", gt=0)
    dropout: float = F(0.0, "share of inputs dropped", ge=0, lt=1)
    targets: tuple[str, ...] | Literal["all-linear"] = F("all-linear", "module names")


class Optimizer(Part):
    learning_rate: float = F(1e-5, "peak", gt=0)
    schedule: Literal["linear", "cosine", "constant"] = F("linear", "after the warm-up")
    warmup_steps: int = F(0, "steps of linear rise", "steps", ge=0)
    min_lr_ratio: float = F(0.0, "the schedule ends at this share of the peak", ge=0, le=1)
    weight_decay: float = F(0.0, "AdamW", ge=0)
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
    lora: Lora | None = F(None, "train an adapter and merge it")


class Train(Optimizer):
    role: Slug = F("policy", "the model that this trains")
    objective: str = F("sft", "method of engine/train")
    init: Literal["previous", "base"] = F(..., "train from the last promoted checkpoint or from the base")
    reference: Literal["previous", "base", "none"] = F(..., "model that the objective compares with")
    data: Literal["round", "cumulative"] = F(..., "rows of this round alone, or of all rounds and the base")
    params: dict[str, Any] = F({}, "settings of the objective's own")


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


class Evaluate(Sampler):
    temperature: float = F(0.0, "0 is greedy", ge=0)
    samples: int = F(1, "answers a held-out prompt", "answers", gt=0)
    backend: str | None = F(None, "method of engine/generate; none: as in generate")
    params: dict[str, Any] = F({}, "settings of the backend's own")
    batch: int = F(512, "answers that are sampled together", "answers", gt=0)
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


class Compute(Part):
    device: Device = F("auto", "cpu, cuda, cuda:N; auto: the first GPU, else the CPU")
    threads: int | Literal["auto"] = F("auto", "CPU threads of torch; auto: cores that are free at the first run", "threads")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = F("auto", "auto: bfloat16 on a GPU, float32 on a CPU")
    memory_limit: Memory = F("1.5GB", "DuckDB memory before it spills to disk", "bytes with a suffix")


class Spec(Part):
    """One experiment. `stages` change parts of it over rounds; `at(round)` is the spec of one round."""

    experiment: Slug = F(..., "name; also the partition in every table")
    description: str = F("", "one line for people")
    seed: int = F(0, "root of all randomness")
    rounds: int = F(3, "rounds after the base", "rounds", gt=0)
    models: Models = F(Models(), "models that exist before round 0")
    base: Base | None = F(None, "pre-train a small model instead of loading one")
    prompts: Prompts = F(..., "questions and their splits")
    generate: Generate = F(Generate(), "how the policy answers")
    score: tuple[Scorer, ...] = F((), "scorers of every answer")
    combine: str | None = F(None, "SQL expression over scorer names that gives `score`; needed with several scorers")
    select: Select = F(..., "which answers train")
    train: tuple[Train, ...] = F(..., "models that train in a round", min_length=1)
    evaluate: Evaluate = F(Evaluate(), "how every checkpoint is measured")
    gate: Gate = F(Gate(), "when a checkpoint becomes the policy")
    compute: Compute = F(Compute(), "device, threads, memory; resolved once per experiment")
    stages: tuple[dict[str, Any], ...] = F((), "[{rounds: '0-1', ...}, {rounds: '2-', ...}]: settings of some rounds")

    @model_validator(mode="after")
    def _whole(self) -> Spec:
        names = [scorer.column for scorer in self.score]
        if len(set(names)) < len(names):
            raise ValueError(f"score: two scorers share a name in {names}; give one of them `name`")
        if len(names) > 1 and not self.combine:
            raise ValueError(f"combine: several scorers need an expression, e.g. {' * '.join(names)!r}")
        roles = [train.role for train in self.train]
        if len(set(roles)) < len(roles):
            raise ValueError(f"train: role stands twice in {roles}")
        if bool(self.base) == bool(self.models.policy):
            raise ValueError("models.policy: give either a model to start from or `base` that trains one, not both or neither")
        known = set(self.evaluate.metrics)
        for condition in self.gate.require:
            if condition.metric not in known:
                raise ValueError(f"gate.require: metric {condition.metric!r} is not in evaluate.metrics {sorted(known)}")
        if self.gate.require and self.prompts.gate is None:
            raise ValueError("prompts.gate: the gate has conditions but there is no gate split to measure them on")
        return self
