"""What the conformance suite needs to know of each backend: one class a backend, with the files, model and server it answers from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa

import generate_tiny as tiny
from engine.generate import Backend, Job, backends
from engine.generate.cast import cast
from engine.generate.steps import Generations
from engine.ids import digest
from engine.spec import Sampler
from engine.step import Ref
from engine.warm import Warm

N, SAMPLES, BATCH = 10, 3, 7
Row = dict[str, Any]
DICE = random.Random(11)
TEXTS = [f"{i}:" + "".join(DICE.choices(tiny.LETTERS[:-1], k=DICE.randint(0, 25))) for i in range(N)]
MANY = [f"{i}. " + "".join(DICE.choices(tiny.LETTERS[:-1], k=DICE.randint(0, 25))) for i in range(24)]  # for steps that are killed


class Unanswerable(NamedTuple):
    """A prompt that a backend must refuse: its text, settings of the backend's own, and words of the error."""

    text: str
    words: str
    params: Mapping[str, Any] = MappingProxyType({})


class Rig:
    """A backend, with what it answers from in a folder. What is false here is null in its rows."""

    name: ClassVar[str]
    sampled: ClassVar[bool] = True  # draws answers from seeds
    most: ClassVar[int] = SAMPLES  # answers a prompt in this suite
    counts: ClassVar[bool] = True  # says how many tokens
    logprobs: ClassVar[bool] = True
    tokens: ClassVar[bool] = False  # keep_tokens gives token ids
    token_logprobs: ClassVar[bool] = False  # and their log-probabilities
    speed: ClassVar[tuple[dict[str, Any], ...]] = ()  # settings of its own that change no answer
    other: ClassVar[tuple[dict[str, Any], ...]] = ()  # settings that do
    bad: ClassVar[tuple[tuple[dict[str, Any], str], ...]] = ()  # settings that are wrong, and words of the error
    unanswerable: ClassVar[tuple[Unanswerable, ...]] = ()
    schedules: ClassVar[bool] = False  # gets all asks at once
    pause: ClassVar[float] = 0.0  # seconds that a step which is killed waits after each append, where answers come at once
    in_flight: ClassVar[int] = 0  # requests at a time, where `work` counts them
    known: ClassVar[str] = TEXTS[0]  # a prompt that it answers

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.model: Path | None = None
        self.warm: Warm | None = None

    def params(self) -> dict[str, Any]:
        """The backend's own settings."""
        return {}

    def expected_id(self, job: Job, row: Row, sampler: Sampler) -> str:
        """The id of a row, as the design defines it."""
        assert job.model is not None
        return digest(job.model.digest, row["prompt_id"], row["actor"], drawn_with(job, sampler), row["seed"], row["sample"], 0, None)

    def work(self) -> int:
        """Requests so far, where somebody counts them."""
        return 0

    def close(self) -> None:
        """Ends what the rig has started."""

    def step(self, generate: dict[str, Any], *, round_: int = 0, folder: Path | None = None) -> tuple[Generations, tiny.Fake]:
        """The step `generations` with settings of that part of the spec, and what it sees; its journal lies in `folder`."""
        generate = {"samples": self.most, "batch": BATCH, "max_tokens": 12} | generate
        params = self.params() | generate.pop("params", {})
        spec = tiny.spec(seed=generate.pop("seed", 5), generate=generate | {"backend": self.name, "params": params})
        return Generations(spec), tiny.Fake(
            spec, folder or self.folder, {Ref("prompts", "train"): prompts()}, self.model, round_, warm=self.warm
        )

    @contextmanager
    def opened(self, *, round_: int = 0, actor: str = "policy", **generate: Any) -> Iterator[Backend]:
        """The backend as a step makes it."""
        step, ctx = self.step(generate, round_=round_)
        with step.backend(ctx, cast(ctx.spec)[0]._replace(actor=actor)) as backend:
            yield backend

    def asks(self, texts: list[str] = TEXTS) -> pa.Table:
        """Prompts with the columns that the backend needs."""
        return prompts(texts).select(["prompt_id", "messages", *backends.load(self.name).reads])


def prompts(texts: list[str] = TEXTS) -> pa.Table:
    """Rows of `prompts`; a prompt's reference is its text backwards, and no text has none."""
    rows = tiny.prompts(texts)
    return rows.set_column(rows.schema.get_field_index("reference"), "reference", pa.array([text[::-1] or None for text in texts]))


def drawn_with(job: Job, sampler: Sampler) -> dict[str, Any]:
    """A sampler as it enters ids."""
    fields = {name: getattr(sampler, name) for name in ("temperature", "top_p", "top_k", "max_tokens")}
    return {**fields, "stop": list(sampler.stop), "chat": job.chat}
