"""Spec files: extends, overrides, stages, and errors with file, line, field and nearest key."""

from pathlib import Path

import pytest

from engine import specfile
from engine.errors import SpecError
from engine.specfile import at, load

GOOD = """experiment: demo
models: {policy: model}
rounds: 2
prompts: {train: train.jsonl}
select: {sql: raft.sql}
train:
  - {init: previous, reference: none, data: round, learning_rate: 1e-3}
"""


def write(tmp_path: Path, text: str = GOOD, name: str = "demo.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_number_without_a_dot_is_a_number(tmp_path: Path) -> None:
    assert load(write(tmp_path)).train[0].learning_rate == 1e-3
    assert load(write(tmp_path), ["train.0.learning_rate=2e-4"]).train[0].learning_rate == 2e-4


def test_extends_merges_mappings_and_replaces_lists(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "generate: {samples: 3, temperature: 0.5}\nscore: [{verifier: exact}]\n", "parent.yaml")
    spec = load(write(tmp_path, "experiment: child\nextends: parent\ngenerate: {samples: 9}\nscore: [{verifier: regex}]\n"))
    assert (spec.experiment, spec.generate.samples, spec.generate.temperature) == ("child", 9, 0.5)
    assert [s.verifier for s in spec.score] == ["regex"]


def test_stages_change_their_rounds_only(tmp_path: Path) -> None:
    spec = load(write(tmp_path, GOOD + "stages: [{rounds: 1-, generate: {samples: 2}}]\n"))
    assert [at(spec, r).generate.samples for r in (-1, 0, 1)] == [8, 8, 2]


@pytest.mark.parametrize(
    ("change", "line", "text"),
    [
        ("rouns: 3", 8, "rouns: unknown key; did you mean 'rounds'?"),
        ("generate: {temperatur: 1}", 8, "generate.temperatur: unknown key; did you mean 'temperature'?"),
        ("generate:\n  samples: many", 9, "generate.samples: Input should be a valid integer"),
        ("generate: {samples: 0}", 8, "generate.samples: Input should be greater than 0, found 0"),
        ("gate: {on_fail: explode}", 8, "gate.on_fail: Input should be 'stop' or 'continue', found 'explode'"),
        ("gate: {require: [{metric: pass@1}]}", 8, "gate.require.0: a condition needs min, max or min_delta"),
        ("score: [{verifier: math, name: score}]", 8, "score.0.name: a scorer name has"),
        ("prompts: {}", 8, "prompts"),
        ("extends: rfat", 8, "no recipe or file 'rfat'"),
        ("stages: [{rounds: soon}]", None, "rounds 'soon'"),
        ("stages: [{rounds: 0, generate: {sample: 2}}]", None, "generate.sample: unknown key; did you mean 'samples'?"),
    ],
)
def test_a_mistake_names_file_line_and_field(tmp_path: Path, change: str, line: int | None, text: str) -> None:
    path = write(tmp_path, GOOD + change + "\n")
    with pytest.raises(SpecError) as caught:
        load(path)
    assert text in str(caught.value)
    assert line is None or f"{path}:{line}" in str(caught.value)


def test_whole_spec_rules(tmp_path: Path) -> None:
    for change, text in [
        ("score: [{verifier: math}, {verifier: exact}]", "several scorers need an expression"),
        ("score: [{verifier: math}, {verifier: math}]", "two scorers, measures or pickers share a name"),
        ("gate: {require: [{metric: pass@7, min: 0}]}", "metric 'pass@7' is not in evaluate.metrics"),
        ("base: {data: base.jsonl}", "not both or neither"),
    ]:
        with pytest.raises(SpecError, match=text):
            load(write(tmp_path, GOOD + change + "\n"))


def test_text_that_is_no_mapping(tmp_path: Path) -> None:
    for text, message in [("", "found nothing"), ("- a\n", "expected a mapping"), ("a: [1", "not YAML"), ("a: 1\na: 2\n", "stands twice")]:
        with pytest.raises(SpecError, match=message):
            load(write(tmp_path, text))
    with pytest.raises(SpecError, match="cannot read the spec"):
        load(tmp_path / "absent.yaml")


def test_a_circle_of_extends(tmp_path: Path) -> None:
    write(tmp_path, "extends: b\n", "a.yaml")
    with pytest.raises(SpecError, match="in a circle"):
        load(write(tmp_path, "extends: a\n", "b.yaml"))


@pytest.mark.parametrize("text", ["seed", "train.5.epochs=1", "seed=[", "seed=abc", "rounds.x=1"])
def test_a_bad_override_says_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError, match="command line"):
        load(write(tmp_path), [text])


def test_every_field_has_a_line_of_description() -> None:
    models = {m for f in specfile.Spec.model_fields.values() for m in specfile._models(f.annotation)} | {specfile.Spec}
    assert len(models) > 8
    for model in models:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
