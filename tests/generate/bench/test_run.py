"""Which settings are measured, in turns, and what becomes of those that fail."""

from pathlib import Path
from typing import Any

import pytest

import loop_home
from engine.errors import SpecError
from engine.generate.bench import Repeat, Setting
from engine.generate.bench.grid import Wanted, grid, numbers
from engine.generate.bench.measure import Task
from engine.generate.bench.process import Outcome
from engine.generate.bench.run import Plan, bench, planned
from engine.generate.bench.subject import Subject
from engine.step import Model, Silent


def subject(folder: Path, *overrides: str) -> Subject:
    """The tiny experiment, as if its base were trained."""
    loop_home.write(folder)
    found = Subject(loop_home.load(folder, *overrides))
    found.__dict__["model"] = Model("digest", folder)
    return found


def plan(folder: Path, wanted: Wanted, *overrides: str, prompts: int | None = None) -> Plan:
    own = subject(folder, *overrides)
    return planned(own, *grid(own, wanted), prompts, 3.0)


def sized(settings: Any) -> list[tuple[Any, ...]]:
    return [(one.size, one.threads, one.present) for one in settings if one.batching in (None, settings[0].batching)]


def test_the_specs_own_setting_stands_first_and_once(tmp_path: Path) -> None:
    settings, _ = grid(subject(tmp_path), Wanted(["transformers"], [8, 16], [], [1, 2]))
    assert settings[0].present and sum(one.present for one in settings) == 1
    assert {(one.size, one.threads) for one in settings} == {(16, 1), (8, 1), (8, 2), (16, 2)}
    assert len({(one.size, one.threads, one.batching) for one in settings}) == len(settings)


def test_prompts_are_the_first_of_the_pool_and_fill_the_batches(tmp_path: Path) -> None:
    own = subject(tmp_path, "prompts.per_round=80")
    few, many = own.prompts(5)["prompt_id"].to_pylist(), own.prompts(1000)["prompt_id"].to_pylist()
    assert many[:5] == few and len(set(many)) == 80  # never more than a round has
    assert planned(own, *grid(own, Wanted(["transformers"], [8])), None, 1.0).prompts.num_rows == 64
    assert planned(own, *grid(own, Wanted(["transformers"], [70])), None, 1.0).prompts.num_rows == 70
    assert planned(own, *grid(own, Wanted(["transformers"], [8])), 3, 1.0).prompts.num_rows == 3


def test_they_are_those_that_the_round_draws(tmp_path: Path) -> None:
    own = subject(tmp_path)
    with own.experiment.driver() as driver:
        for round_, steps in ((-1, ["heldout"]), (0, ["prompts"])):
            driver.open(round_)
            for step in steps:
                driver.step(round_, step)
    rows = own.experiment.lake.read("prompts", experiment="loop", rounds=[0], part="train")
    assert own.prompts(24)["prompt_id"].to_pylist() == rows["prompt_id"].to_pylist()


def test_settings_take_turns_and_a_long_start_is_paid_once(tmp_path: Path) -> None:
    order: list[int] = []

    def run(task: Task, limit: float) -> Outcome:
        order.append(task.flight)
        whole = task.flight == 16
        return Outcome(1.0, whole, [Repeat(10, 20, 0.5)] * (3 if whole else 1), memory=task.flight, done=True)

    report = bench(plan(tmp_path, Wanted(["transformers"], [8, 16]), "generate.batch=8"), Silent(), run)
    kinds = len({row.setting.batching for row in report.rows if row.setting.size == 16})
    assert order.count(16) == kinds and order.count(8) == 3 * (len(report.rows) - kinds)
    assert order[0] == 8 and 16 in order[: len(report.rows)] and 16 not in order[len(report.rows) :]
    assert {len(row.repeats) for row in report.rows} == {3}


def test_what_fails_is_a_row_and_does_not_run_again(tmp_path: Path) -> None:
    seen: list[int] = []

    def run(task: Task, limit: float) -> Outcome:
        seen.append(task.flight)
        if task.flight == 32:
            return Outcome(2.0, failed="memory", reason="out of memory")
        return Outcome(1.0, repeats=[Repeat(10, 20, 0.5)], done=True)

    report = bench(plan(tmp_path, Wanted(["transformers"], [32, 4000])), Silent(), run)
    rows = {row.setting.size: row for row in report.rows}
    assert rows[32].failed == "memory" and seen.count(32) == sum(row.setting.size == 32 for row in report.rows)
    assert rows[4000].failed == "small" and 4000 not in seen and "24 prompts of 4 answers" in str(rows[4000].reason)
    assert report.advice and report.advice.best.setting.present


def test_a_backend_that_cannot_start_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    def run(task: Task, limit: float) -> Outcome:
        if task.backend == "other":
            return Outcome(failed="refused", reason="not installed")
        return Outcome(1.0, repeats=[Repeat(10, 20, 0.5)], done=True)

    made = plan(tmp_path, Wanted(["transformers"], [16]))
    more = [Setting("other", "batch", 8, None, 1), Setting("other", "batch", 16, None, 1)]
    from engine.generate import Backend, backends

    backends._methods["other"] = Backend
    try:
        report = bench(Plan(made.subject, [*more, *made.settings], made.prompts, 3.0, {}), Silent(), run)
    finally:
        del backends._methods["other"]
    assert report.against == {"other": "not installed"}
    assert report.rows and {row.setting.backend for row in report.rows} == {"transformers"}


SERVER = (
    "generate.backend=openai",
    "generate.params={url: 'http://127.0.0.1:1/v1', model: m, price_prompt: 1.0, price_response: 2.0}",
)


def test_requests_and_cost_of_servers_are_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.generate.bench.grid._away", lambda own: None)
    made = plan(tmp_path, Wanted(requests=[4, 8]), *SERVER)
    assert [one.size for one in made.settings] == [16, 4, 8] and {one.axis for one in made.settings} == {"concurrency"}
    assert made.settings[1].params["concurrency"] == 4
    sent = 0

    def run(task: Task, limit: float) -> Outcome:
        nonlocal sent
        assert task.most is not None and task.model is None
        sent += task.most + 1
        return Outcome(0.1, repeats=[Repeat(10, None, 0.5)], done=True)

    bench(made, Silent(), run)
    cost = made.cost()
    assert made.requests() == sent == 3 * 3 * (24 * 4 + 1)
    # a prompt like `17+1=` has about 1.2 tokens, an answer at most 8
    assert cost is not None and sent * 8 * 2 / 1e6 < cost < sent * (3 + 8 * 2) / 1e6
    assert plan(tmp_path, Wanted(["transformers"], [8])).requests() == 0


def test_a_server_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    made = plan(tmp_path, Wanted(), *SERVER)
    assert not made.settings and "no server at http://127.0.0.1:1/v1" in made.against["openai"]


def test_backends_without_a_sampler_have_nothing_to_measure(tmp_path: Path) -> None:
    path = "generate.params={path: data/train.jsonl, response: answer, prompt: question}"
    settings, against = grid(subject(tmp_path, "generate.backend=recorded", path), Wanted(["recorded", "transformers"], [8]))
    assert "nothing to measure" in against["recorded"] and {one.backend for one in settings} == {"transformers"}


@pytest.mark.parametrize("text", ["0", "8,0", "-1", "a", "8,,16", "", "1.5"])
def test_sizes_are_whole_numbers_above_0(text: str) -> None:
    with pytest.raises(SpecError, match="--batch: expected whole numbers above 0"):
        numbers(text, "--batch")
    assert numbers("16, 8,16", "--batch") == (8, 16) and numbers(None, "--batch") == ()
