"""Answers at several temperatures before the round: which prompts, which numbers, and that nothing trains on them."""

import pytest

import loop_home
from engine import tables
from engine.errors import SpecError
from engine.generate import calibrate
from engine.generate.calibrate import CalibrateGenerations
from engine.generate.steps import steps
from engine.ids import digest
from engine.rows import own_columns
from engine.spec import Calibrate
from engine.step import Ref
from generate_tiny import Fake, prompts, save, spec, torn

TRAIN = Ref("prompts", "train")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "policy")


def _fake(folder, model, round_=0, **entry):
    made = spec(calibrate={"samples": 2, "temperatures": [0.3, 1.1], "prompts": 5} | entry, generate={"max_tokens": 6, "batch": 4})
    return Fake(made, folder, {TRAIN: prompts([f"q{i}" for i in range(9)])}, model, round_)


def _run(ctx):
    step = next(step for step in steps(ctx.spec) if isinstance(step, CalibrateGenerations))
    assert step.writes() == [("generations", "calibrate")]
    return step.run(ctx).rows["generations", "calibrate"]


def test_numbers_are_unique_over_temperatures(tmp_path, model):
    rows = _run(_fake(tmp_path, model))
    tables.check_keys("generations", tables.check("generations", rows))
    found = rows.to_pylist()
    by_prompt: dict[str, list] = {}
    for row in found:
        by_prompt.setdefault(row["prompt_id"], []).append((row["sample"], row["temperature"]))
        sampler = {"temperature": row["temperature"], "top_p": 1.0, "top_k": 0, "max_tokens": 6, "stop": [], "chat": None}
        expected = digest(row["model"], row["prompt_id"], "policy", sampler, row["seed"], row["sample"], 0, None)
        assert row["generation_id"] == expected
    assert len(by_prompt) == 5
    assert all(answers == [(0, 0.3), (1, 0.3), (2, 1.1), (3, 1.1)] for answers in by_prompt.values())


def test_the_same_prompts_in_every_round_and_other_answers(tmp_path, model):
    first, second = (_run(_fake(tmp_path / str(r), model, r)) for r in (0, 1))
    assert set(first["prompt_id"].to_pylist()) == set(second["prompt_id"].to_pylist())
    assert first["response"].to_pylist() != second["response"].to_pylist()
    every = _run(_fake(tmp_path / "all", model, prompts=None))
    assert len(set(every["prompt_id"].to_pylist())) == 9 and every.num_rows == 36


def test_a_killed_step_goes_on_and_ends_the_same(tmp_path, model):
    ctx = _fake(tmp_path, model)
    whole = _run(ctx)
    torn(ctx.journal, 15)
    ctx.progress = type(ctx.progress)()
    assert _run(ctx).drop_columns(["seconds"]).equals(whole.drop_columns(["seconds"]))
    assert ctx.progress.rows == 5


def test_what_enters_the_fingerprint(tmp_path):
    def settings(seed=5, round_=0, **entry):
        made = spec(calibrate={"samples": 2, "temperatures": [0.3]} | entry, seed=seed)
        return CalibrateGenerations(made).settings(made, round_, tmp_path / "spec.yaml")

    base = settings()
    others = [settings(6), settings(5, 1), settings(samples=3), settings(temperatures=[0.4]), settings(prompts=2)]
    assert settings() == base and all(other != base for other in others)
    greedy = settings(temperatures=[0.0])
    assert settings(round_=1, temperatures=[0.0]) == greedy


def test_a_recorded_backend_has_no_temperature():
    recorded = {"backend": "recorded", "params": {"path": "a.jsonl"}}
    with pytest.raises(SpecError, match="has no temperature"):
        calibrate.check(spec(calibrate={"temperatures": [1.0]}, generate=recorded))
    with pytest.raises(ValueError, match="expected different numbers"):
        Calibrate(temperatures=(0.5, 0.5))


def test_a_plan_sees_them_and_a_selection_cannot(tmp_path):
    text = loop_home.YAML.replace("rounds: 3", "rounds: 1")
    text += "calibrate: {prompts: 6, samples: 2, temperatures: [0.2, 1.3]}\nplan: [{name: heat, sql: heat.sql}]\n"
    text = text.replace("generate: {", "generate: {plan: heat, ").replace("select/random.sql, params: {per_prompt: 1}", "all.sql")
    path = loop_home.write(tmp_path, text)
    heat = "SELECT 'temperature' AS key, max(temperature) AS value, format('{} scored', count(score)) AS reason FROM calibrate.scored"
    (path.parent / "heat.sql").write_text(heat)
    (path.parent / "all.sql").write_text("SELECT prompt_id, generation_id, format('{:g}', temperature) AS reason FROM scored")
    experiment = loop_home.load(tmp_path)
    experiment.run()

    def rows(table, part):
        return own_columns(experiment.lake.read(table, experiment="loop", rounds=[0], part=part)).to_pylist()

    assert [(row["key"], row["value"], row["reason"]) for row in rows("plan", "heat")] == [("temperature", "1.3", "24 scored")]
    aside = {row["generation_id"] for row in rows("generations", "calibrate")}
    assert len(aside) == 24 == len(rows("scores", "calibrate/math"))
    chosen = [row for row in rows("selected", "policy") if row["source_round"] == 0]
    assert len(chosen) == 24 * 4 and not {row["generation_id"] for row in chosen} & aside
    assert {row["reason"] for row in chosen} == {"1.3"}
    assert {row["temperature"] for row in rows("generations", "rollout")} == {1.3}
