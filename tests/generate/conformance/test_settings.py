"""Every backend: what enters the fingerprint, and what is found wrong before any work."""

import json
from typing import Any

import pytest

from engine.errors import RondoError
from engine.generate import backends, check, params
from generate.conformance.rigs import Rig


def settings(rig: Rig, changes: dict[str, Any]) -> str:
    chosen = params(rig.name, rig.params() | changes, "generate.params")
    found = backends.load(rig.name).settings(chosen, rig.folder / "spec.yaml")
    text = json.dumps(found, sort_keys=True, allow_nan=False)
    assert json.loads(text) == found, "settings must be JSON"
    return text


def test_settings_are_json_and_the_same_twice(rig: Rig) -> None:
    assert settings(rig, {}) == settings(rig, {})


def test_settings_that_only_change_speed_stay_out_of_the_fingerprint(rig: Rig) -> None:
    for change in rig.speed:
        assert settings(rig, change) == settings(rig, {}), change


def test_settings_that_change_answers_change_the_fingerprint(rig: Rig) -> None:
    found = [settings(rig, {}), *(settings(rig, change) for change in rig.other)]
    assert len(set(found)) == len(found)


def test_bad_settings_are_found_before_any_work(rig: Rig) -> None:
    assert rig.bad
    for change, words in rig.bad:
        with pytest.raises(RondoError, match=words) as caught:
            check(rig.name, rig.params() | change, "generate.params", rig.folder / "spec.yaml")
        assert caught.value.code == 2


def test_the_batch_size_stays_out_of_the_fingerprint(rig: Rig) -> None:
    step, ctx = rig.step({})
    other, its = rig.step({"batch": 3})
    assert step.settings(ctx.spec, 0, rig.folder / "spec.yaml") == other.settings(its.spec, 0, rig.folder / "spec.yaml")


def test_seed_and_round_are_in_the_fingerprint_where_answers_are_drawn(rig: Rig) -> None:
    def found(round_: int = 0, **generate: Any) -> dict[str, Any]:
        step, ctx = rig.step(generate)
        return step.settings(ctx.spec, round_, rig.folder / "spec.yaml")

    assert (found(seed=5) != found(seed=6)) == rig.sampled
    assert (found(0) != found(1)) == rig.sampled
    assert found(0, temperature=0) == found(1, temperature=0, seed=6)
