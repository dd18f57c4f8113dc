"""What `rondo bench generate` has measured, as a table with advice for people and as JSON."""

from __future__ import annotations

import os
from typing import Any

import yaml
from rich.console import Console

from engine.experiment import key
from engine.generate import backends
from engine.generate.bench import Figures, Metric, metric
from engine.generate.bench.advice import Advice
from engine.generate.bench.agree import Agreement
from engine.generate.bench.run import Report
from engine.report.grid import seconds, show, size


def as_json(report: Report) -> dict[str, Any]:
    """Everything, numbers unrounded: what was measured on what, a row a setting, disagreements, advice."""
    subject, advice = report.subject, report.advice
    needs_model = any(backends.load(row.setting.backend).needs_model for row in report.rows)
    return {
        "experiment": subject.experiment.name,
        "round": key(subject.round),
        "model": {"digest": subject.model.digest, "path": subject.model.path} if needs_model else None,
        "prompts": report.prompts,
        "samples": subject.present.samples,
        "sampler": subject.present.sampler.model_dump(mode="json", include={"temperature", "top_p", "top_k", "max_tokens", "stop"}),
        "device": subject.device.device,
        "dtype": subject.device.dtype,
        "cores": len(os.sched_getaffinity(0)),
        "seconds": report.seconds,
        "compared_by": metric(report.rows),
        "settings": [_row(row, report) for row in report.rows],
        "cannot_run": [{"backend": name, "reason": reason} for name, reason in report.against.items()],
        "agreement": [_agreement(one) for one in report.agreements],
        "advice": None if advice is None else _advice(advice),
    }


def _row(row: Figures, report: Report) -> dict[str, Any]:
    own = row.setting
    found: dict[str, Any] = {
        "backend": own.backend,
        own.axis: own.size,
        "batching": own.batching,
        "threads": own.threads,
        "params": dict(own.params),
        "present": own.present,
        "fastest": row is report.fastest,
        "start_seconds": row.start,
        "peak_bytes": row.memory,
        "gpu_bytes": row.gpu,
        "repeats": [vars(one) for one in row.repeats],
        "detail": row.detail,
        "failed": row.failed,
        "reason": row.reason,
    }
    for what in ("tokens", "answers"):
        known = row.measured and (what == "answers" or all(one.tokens is not None for one in row.repeats))
        found[f"{what}_per_second"] = row.rate(what) if known else None
    return found


def _agreement(one: Agreement) -> dict[str, Any]:
    sides = {"one": one.one.text, "other": one.other.text}
    return sides | {"answers": one.answers, "differ": one.differ, "example": one.example, "promised": one.promised, "again": one.again}


def _advice(advice: Advice) -> dict[str, Any]:
    return {
        "best": advice.best.setting.text,
        "fastest": advice.fastest.setting.text,
        "gain": advice.gain,
        "keep": advice.keep,
        "within_noise": advice.noise,
        "why": advice.why,
        "spec": advice.lines,
    }


def text(console: Console, report: Report) -> None:
    """The table, what did not run, disagreements, and the lines for the spec."""
    subject, what = report.subject, metric(report.rows)
    sampler = subject.present.sampler
    asked = f"{report.prompts} prompts, {subject.present.samples} answers each of at most {sampler.max_tokens} tokens"
    where = f"temperature {sampler.temperature:g}; {subject.device.device}, {subject.device.dtype}"
    _say(console, f"{subject.experiment.name}, round {key(subject.round)}: {asked} at {where}")
    if report.rows:
        columns = ("", "backend", "in flight", "batching", "threads", f"{what}/s", "range", "answers/s", "start", "memory", "GPU", "")
        rows = [_cells(row, report, what) for row in report.rows]
        shown = [i for i in range(len(columns)) if i == 0 or any(row[i] not in (None, "") for row in rows)]
        show(console, [columns[i] for i in shown], [[row[i] for i in shown] for row in rows], wide=90)
    for name, reason in report.against.items():
        _say(console, f"{name}: not measured: {reason}")
    _agreed(console, report)
    _advise(console, report)


def _cells(row: Figures, report: Report, what: Metric) -> tuple[Any, ...]:
    own = row.setting
    flight = f"{own.axis} {'' if own.size is None else own.size}"
    head = ("*" if row is report.fastest else "", own.backend, flight, own.batching, own.threads)
    said = [str(row.reason).splitlines()[0]] if row.failed else _details(row)
    remark = "; ".join([*(["as in the spec"] if own.present else []), *said])
    if not row.measured:
        return (*head, None, None, None, None if row.start is None else seconds(row.start), *_sizes(row), remark)
    low, high = row.span(what)
    span = f"{low:,.0f}-{high:,.0f}" if len(row.repeats) > 1 else "once"
    return (*head, round(row.rate(what)), span, row.rate("answers"), seconds(row.start), *_sizes(row), remark)


def _sizes(row: Figures) -> tuple[str | None, str | None]:
    return tuple(None if value is None else size(value) for value in (row.memory, row.gpu))  # type: ignore[return-value]


def _details(row: Figures) -> list[str]:
    """What the backend says of itself, where it is a plain value."""
    plain = {name: value for name, value in row.detail.items() if value and isinstance(value, (str, int, float))}
    return [f"{name.replace('_', ' ')}: {value}" for name, value in plain.items()]


def _agreed(console: Console, report: Report) -> None:
    pairs = [one for one in report.agreements if one.answers]
    broken, equal = [one for one in pairs if one.broken], [one for one in pairs if one.promised and not one.broken]
    if equal:
        settings = {setting for one in equal for setting in (one.one, one.other)}
        _say(console, f"{len(settings)} settings that change no row gave the same answers: {sum(one.answers for one in equal):,} compared")
    for one in broken:
        again = f", {one.again} answers came otherwise when they were asked again" if one.again else ""
        example = f", such as number {one.example[1]} to prompt {one.example[0]}" if one.example else ""
        _say(console, f"WRONG: {one.differ} of {one.answers} answers differ between {one.one.text} and {one.other.text}{example}{again}")
    for one in pairs:
        if not one.promised and one.differ:
            both = f"{one.one.text} and {one.other.text}"
            _say(console, f"{one.differ} of {one.answers} answers differ between {both}, which nothing promises to be equal")


def _advise(console: Console, report: Report) -> None:
    advice = report.advice
    if advice is None:
        _say(console, "nothing was measured, so there is no advice")
        return
    if advice.keep:
        _say(console, f"keep the spec as it is: {advice.why}")
        return
    gain = "" if advice.gain is None else f", {advice.gain:.2f} times the spec's present {advice.metric} a second"
    _say(console, f"put into the spec: {advice.best.setting.text} ({advice.why}{gain})")
    _say(console, yaml.safe_dump(advice.lines, sort_keys=False).rstrip())
    keeps = advice.present is not None and advice.present.setting.backend == advice.best.setting.backend
    if not keeps or "compute" in advice.lines:
        part = "compute.threads enters" if keeps else "backend and model enter"
        _say(console, f"{part} fingerprints: rounds that are closed stay, open ones generate again")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
