"""Who answers: what `rondo validate` finds wrong with a round's actors, and who is asked what."""

import json

import pytest

import loop_home
from engine.check import check
from engine.errors import DataError, RondoError, SpecError
from engine.generate import POLICY
from engine.generate.asks import asked, with_samples
from engine.generate.cast import cast, drawn
from engine.generate.steps import steps
from engine.report.plan import expected
from engine.step import Ref
from generate_tiny import Fake, prompts, save, spec

GOLD = {"name": "gold", "backend": "gold"}
BASE_ACTOR = {"name": "base", "model": "base"}


def _spec(*actors, **more):
    return spec(generate={"samples": 3, "max_tokens": 12, "actors": list(actors)} | more)


def _wrong(tmp_path, extra):
    text = loop_home.YAML.replace("generate: {samples: 4, max_tokens: 8, batch: 16}", extra)
    assert text != loop_home.YAML
    loop_home.write(tmp_path, text)
    experiment = loop_home.load(tmp_path)
    check(experiment.spec, tmp_path / "experiments" / "loop.yaml")


@pytest.mark.parametrize(
    ("generate", "words"),
    [
        ("actors: [{name: a}, {name: b}, {name: a}]", "the name 'a' stands twice"),
        ("actors: [{name: a, backend: recordd}]", "no generate method 'recordd'(.|\n)*did you mean 'recorded'"),
        ("until: {cap: 4, right: 1}, actors: [{name: a}]", r"generate\.until: it is about the actor 'policy', and there are only \['a'\]"),
        ("until: {cap: 4, right: 1}, actors: [{name: policy, backend: gold}]", r"generate\.until: the backend 'gold' has one answer"),
        ("actors: [{name: gold, backend: gold, model: base}]", r"actors\[0\]\.model: the backend 'gold' takes no model"),
        ("actors: [{}, {name: gold, backend: gold, samples: 2}]", r"actors\[1\]\.samples: the backend 'gold' has one answer"),
        ("actors: [{name: gold, backend: gold, temperature: 0.5}]", r"actors\[0\]\.temperature: the backend 'gold' samples nothing"),
        ("actors: [{name: gold, backend: gold, params: {pth: $.a}}]", "did you mean 'path'"),
        ("actors: [{name: a, model: nowhere/at-all/3}]", "nowhere/at-all/3"),
        ("actors: [{}, {name: r, backend: recorded, params: {path: gone.jsonl}}]", "no data file 'gone.jsonl'"),
        ("actors: [{}, {name: r, backend: recorded, params: {path: data/base.jsonl, prompt: question, actor: topic}}, {name: odd}]",
         "the name 'odd' stands twice"),
    ],
)  # fmt: skip
def test_validate_finds(tmp_path, generate, words):
    with pytest.raises(RondoError, match=words):
        _wrong(tmp_path, f"generate: {{samples: 4, max_tokens: 8, batch: 16, {generate}}}")


@pytest.mark.parametrize(
    ("actor", "words"),
    [
        ({"name": "The Teacher"}, "a name has 1-63"),
        ({"name": "../up"}, "a name has 1-63"),
        ({"share": 0.0}, "share"),
        ({"share": 1.5}, "share"),
        ({"samples": 0}, "samples"),
        ({"modell": "base"}, "did you mean 'model'"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, actor, words):
    loop_home.write(tmp_path)
    with pytest.raises(SpecError, match=words):
        loop_home.load(tmp_path, f"generate.actors={json.dumps([actor])}")


def test_wrong_recorded_rows_are_found_before_any_work(tmp_path):
    loop_home.write(tmp_path)
    (tmp_path / "experiments" / "told.jsonl").write_text('{"prompt": "a", "response": "b"}\n{"prompt": "a"}\n')
    actor = {"name": "told", "backend": "recorded", "params": {"path": "told.jsonl"}}
    experiment = loop_home.load(tmp_path, f"generate.actors={json.dumps([actor])}")
    with pytest.raises(DataError, match="column 'response'") as caught:
        check(experiment.spec, tmp_path / "experiments" / "loop.yaml")
    assert "told.jsonl:2" in str(caught.value)


def test_calibration_asks_the_actor_called_policy(tmp_path):
    calibrated = spec(calibrate={"temperatures": [0.5]}, generate={"actors": [GOLD, {"name": POLICY, "max_tokens": 7}]})
    step = next(step for step in steps(calibrated) if step.name == "calibrate_generations")
    assert [(how.actor, how.backend, how.sampler.max_tokens) for how in step.setups(calibrated)] == [(POLICY, "transformers", 7)]
    from engine.generate import calibrate

    calibrate.check(calibrated)
    for actors, words in {
        "nobody": ([{"name": "a"}], r"it asks the actor 'policy', and there are only \['a'\]"),
        "no temperature": ([{"name": POLICY, "backend": "gold"}], "'gold' takes answers from elsewhere"),
    }.values():
        with pytest.raises(SpecError, match=words):
            calibrate.check(spec(calibrate={"temperatures": [0.5]}, generate={"actors": actors}))


def test_what_an_entry_leaves_open_is_as_in_generate():
    plain, other, gold = cast(_spec({}, BASE_ACTOR | {"samples": 2, "temperature": 0.3, "share": 0.5}, GOLD))
    assert (plain.actor, plain.model, plain.samples, plain.sampler.temperature, plain.share) == (POLICY, "policy", 3, 1.0, 1.0)
    assert (other.actor, other.model, other.samples, other.sampler.temperature, other.share) == ("base", "base", 2, 0.3, 0.5)
    assert other.sampler.max_tokens == 12
    assert (gold.backend, gold.samples, gold.field) == ("gold", 1, "generate.actors[2].params")
    assert [how.actor for how in cast(spec())] == [POLICY]


def test_a_share_is_drawn_by_lot_each_round_anew_and_never_empty():
    ids = [f"p{i}" for i in range(40)]
    (how,) = cast(_spec({"share": 0.25}))
    first, again, later = (drawn(ids, how, 5, round_, "generations") for round_ in (0, 0, 1))
    assert first == again and len(first) == len(later) == 10 and set(first) != set(later)
    assert first == [p for p in ids if p in set(first)]
    assert drawn(ids[::-1], how, 5, 0, "generations")[::-1] == first  # by lot of the prompt, not by its place
    (small,) = cast(_spec({"share": 1e-12}))
    assert len(drawn(ids, small, 5, 0, "generations")) == 1
    (other,) = cast(_spec({"name": "b", "share": 0.25}))
    assert set(drawn(ids, other, 5, 0, "generations")) != set(first)


def test_two_actors_with_one_model_share_no_stream_and_no_id(tmp_path):
    model = save(tmp_path / "policy")
    texts = [f"q{i}:" for i in range(6)]
    made = _spec({}, {"name": "twin"}, {"name": "cold", "temperature": 0.0, "samples": 1})
    step = next(step for step in steps(made) if step.name == "generations")
    ctx = Fake(made, tmp_path, {Ref("prompts", "train"): prompts(texts)}, model)
    asks = with_samples(ctx.parts[Ref("prompts", "train")].select(["prompt_id", "messages"]), [range(3)] * 6)
    streams = []
    for how in step.setups(made)[:2]:
        with step.backend(ctx, how) as backend:
            streams += asked(backend.job, asks).keys(backend.job).tolist()
    assert len(set(streams)) == 36
    rows = step.run(ctx).rows["generations", "rollout"]
    found = rows.select(["prompt_id", "actor", "sample"]).to_pylist()
    ids = ctx.parts[Ref("prompts", "train")]["prompt_id"].to_pylist()
    who = [(POLICY, 3), ("twin", 3), ("cold", 1)]
    assert [tuple(row.values()) for row in found] == [(p, actor, k) for p in ids for actor, count in who for k in range(count)]
    assert len(set(rows["generation_id"].to_pylist())) == 42 and len(set(rows["model"].to_pylist())) == 1
    by = {actor: [r["response"] for r in rows.to_pylist() if r["actor"] == actor] for actor, _ in who}
    assert by[POLICY] != by["twin"]
    # alone, the policy gives the answers that it gives among others
    alone = spec(generate={"samples": 3, "max_tokens": 12})
    own = next(step for step in steps(alone) if step.name == "generations")
    ctx = Fake(alone, tmp_path / "alone", ctx.parts, model)
    assert own.run(ctx).rows["generations", "rollout"]["response"].to_pylist() == by[POLICY]


def test_a_plan_counts_the_answers_of_every_actor() -> None:
    actors = [{"name": "policy", "samples": 4}, {"name": "gold", "backend": "gold", "share": 0.3}, {"name": "b", "model": "base"}]
    made = spec(prompts={"train": "t.jsonl", "per_round": 10}, generate={"samples": 2, "actors": actors})
    assert expected(made, "generations", {}) == 10 * 4 + 3 + 10 * 2
    assert expected(made, "scores_math", {}) == 63
