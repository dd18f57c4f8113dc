"""The loop over a tiny real model: nothing computed twice, closed rounds, reopening, reuse, gate, decisions, forks, repair."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import loop_home
from engine.errors import ModelError, RondoError, Stopped
from engine.ledger import OPENING, Ledger
from engine.step import BASE


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home where the experiment `loop` ran its three rounds."""
    folder = tmp_path_factory.mktemp("finished")
    loop_home.write(folder)
    loop_home.load(folder).run()
    yield folder


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    shutil.copytree(finished, tmp_path / "home")
    return tmp_path / "home"


def test_every_trained_row_leads_back_to_its_answer_score_policy_and_prompt(finished: Path) -> None:
    experiment = loop_home.load(finished)
    checkpoint = experiment.checkpoint(2)
    rows = checkpoint.lineage().pl()
    assert checkpoint.row["rows_trained"] == checkpoint.row["rows_expected"] == 64
    trained = experiment.lake.read("trained_rows", experiment="loop", rounds=[2]).to_pylist()
    assert [row["position"] for row in trained] == list(range(64))
    assert {row["row_id"] for row in trained} == set(rows["row_id"])
    assert {-1, 0, 1, 2} == set(experiment.lake.read("selected", experiment="loop", rounds=[2])["source_round"].to_pylist())


def test_a_second_run_starts_no_step(home: Path) -> None:
    experiment = loop_home.load(home)
    before = experiment.lake.versions()
    assert experiment.run() == []
    assert experiment.lake.versions() == before


def test_prompts_never_repeat_across_rounds_and_stay_out_of_the_held_out(finished: Path) -> None:
    lake = loop_home.load(finished).lake
    trained = lake.read("prompts", experiment="loop", part="train")["prompt_id"].to_pylist()
    held = lake.read("prompts", experiment="loop", rounds=[BASE])["prompt_id"].to_pylist()
    assert len(trained) == len(set(trained)) == 72
    assert len(held) == 20 and not set(trained) & set(held)


def test_a_changed_selection_drifts_and_runs_again_only_from_where_it_is_asked(home: Path) -> None:
    before = loop_home.attempts(loop_home.load(home).lake, "loop")
    changed = loop_home.load(home, "select.params.per_prompt=2")
    assert changed.run() == []
    assert [[v.step for v in changed.state().drift(r)] for r in range(BASE, 3)] == [[], ["selected"], ["selected"], ["selected"]]
    assert "per_prompt: 1 -> 2" in changed.state().drift(0)[0].why
    ran = [d.step for d in changed.run(first=0, until=0) if d.state == "done"]
    assert ran[0] == "selected" and not {"prompts", "policy", "generations", "scores_math", "score"} & set(ran)
    after = loop_home.attempts(changed.lake, "loop")
    kept = [key for key in before if after[key] == before[key] and key[0] in (BASE, 0) and key[1] != OPENING]
    assert {step for r, step in kept if r == 0} == {"policy", "prompts", "generations", "scores_math", "scores_format", "score"}
    assert all(after[key] == before[key] for key in before if key[0] == BASE)


def test_an_equal_result_stops_the_wave(home: Path) -> None:
    """Another file text with the same rows: the selection runs, nothing after it but the decision."""
    (home / "experiments" / "same.sql").write_text(
        (Path(__file__).parent.parent / "sql/select/random.sql").read_text() + "\n-- x\nLIMIT 1000000"
    )
    changed = loop_home.load(home, "select.sql=same.sql")
    assert [d.step for d in changed.run(first=0) if d.state == "done"] == ["selected", "promotion"] * 3


def test_another_experiment_copies_what_is_the_same(home: Path) -> None:
    loop_home.write(home, loop_home.YAML.replace("per_prompt: 1", "per_prompt: 3"), "other")
    done = loop_home.load(home, name="other").run()
    reused = {(d.round, d.step) for d in done if d.state == "reused"}
    assert {(BASE, "checkpoint"), (BASE, "evaluation"), (0, "prompts"), (0, "generations"), (0, "score"), (1, "prompts")} <= reused
    assert (0, "selected") not in reused
    lake = loop_home.load(home).lake
    both = [loop_home.contents(lake, name) for name in ("loop", "other")]
    assert both[0]["generations/0/rollout"] == both[1]["generations/0/rollout"]
    assert both[0]["generations/1/rollout"] != both[1]["generations/1/rollout"]


def test_a_gate_that_fails_stops_until_a_person_decides(home: Path) -> None:
    loop_home.write(home, loop_home.YAML + "gate: {on_fail: stop, require: [{metric: pass@1, min: 2}]}\n", "strict")
    strict = loop_home.load(home, name="strict")
    with pytest.raises(Stopped, match=r"round 0 was held .*not pass@1"):
        strict.run()
    with pytest.raises(Stopped):
        strict.run()
    assert strict.state().next_round() == 1
    forced = strict.promote(0, "looks fine", "me")
    assert (forced.decision, forced.effective_round) == ("forced", 1)
    assert strict.state().policy(1) == strict.checkpoint(0).digest
    with pytest.raises(Stopped, match="round 1"):
        strict.run()
    assert strict.state().entries[1, "policy"].content_hash == strict.checkpoint(0).digest
    back = strict.rollback(BASE, "worse after all", "me")
    assert back.digest == strict.checkpoint(BASE).digest
    with pytest.raises(Stopped, match="round 2"):
        strict.run()
    assert strict.state().entries[2, "policy"].content_hash == strict.checkpoint(BASE).digest


def test_on_fail_continue_goes_on_from_the_last_promoted(home: Path) -> None:
    loop_home.write(home, loop_home.YAML + "gate: {on_fail: continue, require: [{metric: pass@1, min: 2}]}\n", "lenient")
    lenient = loop_home.load(home, name="lenient")
    lenient.run()
    assert {lenient.state().policy(r) for r in range(4)} == {lenient.checkpoint(BASE).digest}


def test_a_fork_goes_on_under_another_name(home: Path) -> None:
    source = loop_home.load(home)
    forked = source.fork(0, "forked")
    assert forked.state().next_round() == 1
    done = forked.run()
    assert {d.round for d in done} == {1, 2} and all(d.state in ("reused", "done") for d in done)
    assert [d.step for d in done if d.state == "done"] == ["policy", "promotion"] * 2  # the rest is the same as in the source
    with pytest.raises(RondoError):
        source.fork(0, "forked")


def test_a_ledger_row_lost_in_a_crash_is_repaired_from_the_commit(tmp_path: Path) -> None:
    loop_home.write(tmp_path)
    experiment = loop_home.load(tmp_path)

    def crash(entry: object) -> None:
        if getattr(entry, "step", "") == "checkpoint":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), experiment.driver() as driver:
        driver.after_commit = crash
        driver.run(until=BASE)
    assert Ledger(experiment.lake, "loop").get(BASE, "checkpoint") is None
    done = experiment.run(until=BASE)
    assert [d.state for d in done if d.step == "checkpoint"] == ["unchanged"]
    assert experiment.lake.read("checkpoints", experiment="loop").num_rows == 1


def test_a_checkpoint_that_vanished_or_changed_is_an_error_that_says_what_to_do(home: Path) -> None:
    experiment = loop_home.load(home, "rounds=4", "prompts.per_round=18")
    before = experiment.lake.versions()
    path = experiment.checkpoint(2).path
    moved = path.rename(path.with_name("elsewhere"))
    with pytest.raises(ModelError, match="has vanished"):
        experiment.run()
    moved.rename(path)
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ModelError, match="have changed"):
        experiment.run()
    assert {t: v for t, v in experiment.lake.versions().items() if t != "steps"} == {t: v for t, v in before.items() if t != "steps"}
