"""Measures the settings of a grid in turns, and puts together what was found."""

from __future__ import annotations

import math
import tempfile
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa

from engine.errors import DataError, SpecError
from engine.generate import backends, params
from engine.generate.asks import Pair
from engine.generate.bench import Figures, Setting, metric, process
from engine.generate.bench.advice import Advice, advise
from engine.generate.bench.agree import Agreement, agreements
from engine.generate.bench.measure import Task
from engine.generate.bench.process import Outcome
from engine.generate.bench.subject import Subject
from engine.locks import Lock
from engine.spec import Sampler
from engine.step import Progress

PASSES = 3  # repeats of each setting, in turns
FULL = 4  # times that the prompts fill the largest batch, where nobody says how many prompts
PROMPTS = 64
FLIGHT = 64  # answers in flight of a backend that decides by itself
PATIENCE, LEAST = 3.0, 60.0  # a setting may take so many times its seconds, and at least so many, to the end of a repeat
LETTERS = 4  # of a token, about
Runner = Callable[[Task, float], Outcome]


@dataclass
class Report:
    """What was measured. `against`: backends that cannot run here or have nothing to measure, with the reason."""

    subject: Subject
    prompts: int
    seconds: float
    rows: list[Figures]
    against: dict[str, str] = field(default_factory=dict)
    agreements: list[Agreement] = field(default_factory=list)

    @property
    def advice(self) -> Advice | None:
        """What to put into the spec."""
        return advise(self.rows)

    @property
    def fastest(self) -> Figures | None:
        """The row with the highest rate."""
        good, what = [row for row in self.rows if row.measured], metric(self.rows)
        return max(good, key=lambda row: row.rate(what), default=None)


@dataclass(frozen=True)
class Plan:
    """Settings that are to be measured over some prompts, `seconds` each."""

    subject: Subject
    settings: Sequence[Setting]
    prompts: pa.Table
    seconds: float
    against: dict[str, str]

    @property
    def answers(self) -> int:
        """How many the prompts ask for."""
        return self.prompts.num_rows * self.subject.present.samples

    def most(self, setting: Setting) -> int | None:
        """The most answers of one repeat, where a server is asked; None where only time bounds it."""
        return None if backends.load(setting.backend).needs_model else self.answers

    def requests(self) -> int:
        """The most requests that servers will get: repeats, and one answer at each start."""
        caps = [self.most(setting) for setting in self.settings]
        return sum(PASSES * (cap + 1) for cap in caps if cap is not None)

    def cost(self) -> float | None:
        """About the most that those requests cost, if every answer is as long as it may be; None where no price is set."""
        text = sum(len(m["content"]) for row in self.prompts["messages"].to_pylist() for m in row) / LETTERS / self.prompts.num_rows
        found = []
        for setting in self.settings:
            cap, priced = self.most(setting), prices(setting)
            if cap is not None and priced is not None:
                found.append(PASSES * (cap + 1) * (text * priced[0] + self.subject.present.sampler.max_tokens * priced[1]) / 1e6)
        return math.fsum(found) if found else None


def prices(setting: Setting) -> tuple[float, float] | None:
    """The prices of a million prompt and response tokens that a server's settings have; None without any."""
    own = params(setting.backend, dict(setting.params), "generate.params")
    found = tuple(getattr(own, name, None) for name in ("price_prompt", "price_response"))
    return None if found == (None, None) else (found[0] or 0.0, found[1] or 0.0)


def planned(subject: Subject, settings: Sequence[Setting], against: dict[str, str], prompts: int | None, seconds: float) -> Plan:
    """The plan for the first `prompts` of the pool (none: enough to fill the largest batch four times). DataError for an empty pool."""
    largest = max((setting.size for setting in settings if isinstance(setting.size, int)), default=0)
    table = subject.prompts(prompts or max(PROMPTS, math.ceil(FULL * largest / subject.present.samples)))
    if not table.num_rows:
        raise DataError("the pool has no prompts", where=str(subject.experiment.path), hint="`rondo validate` counts them")
    if any(backends.load(setting.backend).needs_model for setting in settings):
        _ = subject.model  # what is wrong with it is said before any work
    return Plan(subject, settings, table, seconds, against)


def bench(plan: Plan, progress: Progress, run: Runner = process.run) -> Report:
    """Measures every setting in turns, three times where starting is cheap. What fails is a row with its reason. LockError where
    another experiment is on the GPU."""
    rows = {setting: Figures(setting) for setting in plan.settings}
    answers, changed = dict[Setting, dict[Pair, str]](), dict[Setting, int]()
    report = Report(plan.subject, plan.prompts.num_rows, plan.seconds, list(rows.values()), dict(plan.against))
    device, home = plan.subject.device.device, plan.subject.experiment.home
    # a GPU is nobody else's meanwhile: what a step beside it takes would be measured too
    alone = nullcontext() if device == "cpu" else Lock(home.locks, f"device-{device}", uuid.uuid4().hex[:12])
    progress.begin("measuring", PASSES * len(rows), unit="settings")
    with alone, tempfile.TemporaryDirectory(prefix="rondo-bench-") as folder:
        with pa.OSFile(str(Path(folder) / "prompts.arrow"), "wb") as file, pa.ipc.new_file(file, plan.prompts.schema) as writer:
            writer.write_table(plan.prompts)
        for turn in range(PASSES):
            for setting, row in rows.items():
                if row.failed is None and len(row.repeats) == turn and setting.backend not in report.against:
                    outcome = _measured(plan, setting, row, folder, run)
                    answers.setdefault(setting, {}).update(outcome.answers)
                    changed[setting] = changed.get(setting, 0) + outcome.changed
                    if outcome.failed == "refused" and outcome.start is None:
                        report.against[setting.backend] = outcome.reason or ""
                    progress.note(f"  {setting.text}: {_told(row)}")
                progress.advance(1)
    progress.end()
    report.rows = [row for row in report.rows if row.setting.backend not in report.against]
    compared = {setting: found for setting, found in answers.items() if found}
    report.agreements = agreements(compared, changed, plan.subject.device, plan.subject.present.sampler.temperature == 0)
    return report


def _measured(plan: Plan, setting: Setting, row: Figures, folder: str, run: Runner) -> Outcome:
    """Runs a setting once and adds what was found to its row."""
    size = setting.size if isinstance(setting.size, int) else None
    if size is not None and size > plan.answers:
        outcome = Outcome(
            failed="small", reason=f"{plan.prompts.num_rows} prompts of {plan.subject.present.samples} answers do not fill it"
        )
    else:
        outcome = run(_task(plan, setting, folder), max(LEAST, PATIENCE * plan.seconds))
    row.failed, row.reason = outcome.failed, outcome.reason
    row.starts += [] if outcome.start is None else [outcome.start]
    row.repeats += outcome.repeats
    row.memory = max(row.memory or 0, outcome.memory) or None
    row.gpu = outcome.gpu if row.gpu is None else max(row.gpu, outcome.gpu or 0)
    row.detail = outcome.detail or row.detail
    return outcome


def _task(plan: Plan, setting: Setting, folder: str) -> Task:
    subject, how, batch = plan.subject, plan.subject.present, setting.axis == "batch"
    needs = backends.load(setting.backend).needs_model
    size = setting.size if isinstance(setting.size, int) else FLIGHT
    return Task(
        folder=folder,
        backend=setting.backend,
        params=dict(setting.params),
        sampler={name: getattr(how.sampler, name) for name in Sampler.model_fields},
        samples=how.samples,
        chat=subject.spec.generate.chat,
        model=(subject.model.digest, str(subject.model.path)) if needs else None,
        device=asdict(subject.device) | {"threads": setting.threads},
        seed=subject.spec.seed,
        round=subject.round,
        trust_remote_code=subject.spec.models.trust_remote_code,
        spec_path=str(subject.experiment.path),
        keep_tokens=subject.spec.generate.keep_tokens,
        batch=setting.size if batch and setting.size is not None else how.batch,
        flight=size,
        seconds=plan.seconds / PASSES,
        repeats=PASSES,
        most=plan.most(setting),
    )


def _told(row: Figures) -> str:
    """A setting's last repeat in a line."""
    if row.failed is not None:
        return str(row.reason).splitlines()[0]
    last = row.repeats[-1]
    counted, unit = (last.answers, "answers") if last.tokens is None else (last.tokens, "tokens")
    return f"{counted / last.seconds:,.0f} {unit}/s"


def checked(seconds: float, prompts: int | None, max_tokens: int | None) -> None:
    """SpecError for bounds that allow no measurement."""
    for option, value in (("--seconds", seconds), ("--prompts", prompts), ("--max-tokens", max_tokens)):
        if value is not None and not value > 0:
            raise SpecError(f"{option}: expected more than 0, found {value:g}", where="command line")
