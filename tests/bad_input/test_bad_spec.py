"""Broken specs: `validate` and `run` say what is wrong and where, exit with 2, and leave the lake alone."""

from collections.abc import Callable

import pytest
from typer.testing import Result

from bad_home import SPEC, Bench, message

Rondo = Callable[..., Result]
case = pytest.param

# what the text of the spec is replaced by, the place, and pieces of the message
EDITS = [
    case("seed: 3", "sed: 3", "bad.yaml:3: sed", ["unknown key", "did you mean 'seed'"], id="unknown key at the top"),
    case("samples: 4", "smaples: 4", "bad.yaml:14: generate.smaples", ["unknown key", "did you mean 'samples'"], id="unknown key below"),
    case(
        "reference: none",
        "referense: none",
        "bad.yaml:19: train.0.referense",
        ["did you mean 'reference'", "required"],
        id="unknown key in a list",
    ),
    case("rounds: 2", "rounds: two", "bad.yaml:2: rounds", ["valid integer", "found 'two'"], id="wrong type"),
    case("prompts:\n", "prompts: [1]\nx:\n", "bad.yaml:8: prompts", ["found [1]"], id="a list where a mapping is needed"),
    case("samples: 4", "samples: 0", "bad.yaml:14: generate.samples", ["greater than 0", "found 0"], id="out of range"),
    case(
        "learning_rate: 1e-2, max_length: 64, save_every: 3}\nprompts",
        "learning_rate: .nan}\nprompts",
        "bad.yaml:7: base.train.learning_rate",
        ["finite", "found nan"],
        id="not a number",
    ),
    case(
        "max_tokens: 8, batch",
        "temperature: -1, batch",
        "bad.yaml:14: generate.temperature",
        ["greater than or equal to 0", "found -1"],
        id="negative temperature",
    ),
    case(
        "data: cumulative",
        "data: all",
        "bad.yaml:19: train.0",
        ["data: expected 'round', 'cumulative' or 'last-N'", "found 'all'"],
        id="not one of the choices",
    ),
    case(
        "select: {sql: select/random.sql, params: {per_prompt: 1}}\n",
        "",
        "bad.yaml:1: select.sql",
        ["no SQL selects them"],
        id="nothing selects",
    ),
    case("experiment: bad", "experiment: My Experiment!", "bad.yaml:1: experiment", ["a-z, 0-9", "'My Experiment!'"], id="name is no slug"),
    case("seed: 3", "rounds: 3", "bad.yaml:3", ["'rounds' stands twice"], id="duplicate key"),
    case("per_round: 24", "per_round: 24\n  test: x", "bad.yaml:13", ["'test' stands twice"], id="duplicate key below"),
    case("seed: 3", "seed: [3", "bad.yaml:4", ["not YAML"], id="not YAML"),
    case("seed: 3", "seed: !!python/object:os.system 3", "bad.yaml", ["not YAML", "python/object"], id="a YAML tag that would run code"),
    case("seed: 3", "<<: 3", "bad.yaml", ["not YAML", "merg"], id="a YAML merge of no mapping"),
    case("seed: 3", "? [a, b]\n: 3", "bad.yaml:3", ["text"], id="a key that is no text"),
    case("seed: 3", "extends: rafft", "bad.yaml:3", ["no recipe or file 'rafft'", "did you mean 'raft'"], id="extends unknown"),
    case("seed: 3", "extends: [raft]", "bad.yaml:3", ["extends: expected the name", "['raft']"], id="extends a list"),
    case("seed: 3", "extends: bad.yaml", "bad.yaml:3", ["circle"], id="extends itself"),
    case("verifier: math", "verifier: maths", "bad.yaml:15: ", ["no score method 'maths'", "did you mean 'math'"], id="unknown scorer"),
    case(
        "samples: 4",
        "backend: vlm, samples: 4",
        "bad.yaml:14: ",
        ["no generate method 'vlm'", "did you mean 'vllm'?"],
        id="unknown backend",
    ),
    case(
        "init: previous",
        "objective: sftt, init: previous",
        "bad.yaml:19: ",
        ["no train method 'sftt'", "did you mean 'sft'"],
        id="unknown objective",
    ),
    case("mean, length", "maen, length", "bad.yaml:20: evaluate.metrics", ["'maen'", "did you mean 'mean'"], id="unknown metric"),
    case(
        "params: {pattern: 'Answer'}",
        "params: {patern: 'Answer'}",
        "bad.yaml:15: score (format): params",
        ["params.patern: the verifier 'regex' has no such setting; did you mean 'pattern'"],
        id="unknown scorer setting",
    ),
    case(
        "pattern: 'Answer'",
        "pattern: '(Answer'",
        "bad.yaml:15: score (format): params.pattern",
        ["unterminated subpattern"],
        id="broken regular expression",
    ),
    case("{verifier: math}", "{verifier: math, name: score}", "bad.yaml:15: score.0.name", ["'score'"], id="scorer named score"),
    case("{verifier: math}", "{verifier: math, name: format}", "bad.yaml:15: score", ["share a name"], id="two scorers with one name"),
    case("math + format", "math + fromat", "bad.yaml:16: combine", ["'fromat'", "did you mean 'format'"], id="combine an unknown scorer"),
    case("combine: math + format\n", "", "bad.yaml:1: combine", ["several scorers", "math * format"], id="several scorers, no combine"),
    case("math + format", "math +", "bad.yaml:16: combine", ["syntax error"], id="combine is no SQL"),
    case(
        "math + format",
        "math > format",
        "bad.yaml:16: combine",
        ["expected a number, found BOOLEAN", "::DOUBLE"],
        id="combine is no number",
    ),
    case("math + format", "math + random()", "bad.yaml:16: combine", ["random"], id="combine draws"),
    case(
        "reference: answer, topic",
        "topic",
        "bad.yaml:15: score (math)",
        ["reference", "prompts.fields.reference"],
        id="verifier without a reference",
    ),
    case("[pass@1,", "[pass@4,", "bad.yaml:20: evaluate.metrics", ["'pass@4'", "evaluate.samples is 1"], id="pass@4 of one sample"),
    case("[pass@1,", "[pass,", "bad.yaml:20: evaluate.metrics", ["'pass' needs a k", "pass@4"], id="pass without k"),
    case(
        "compute:",
        "gate: {require: [{metric: maj@3, min: 0.1}]}\ncompute:",
        "bad.yaml:21: gate.require",
        ["'maj@3'", "evaluate.metrics"],
        id="gate metric not measured",
    ),
    case(
        "compute:",
        "gate: {require: [{metric: mean}]}\ncompute:",
        "bad.yaml:21: gate.require.0",
        ["min, max or min_delta"],
        id="gate condition that asks nothing",
    ),
    case(
        "  gate: data/gate.jsonl\n",
        "  gate: {rows: 4, of: test, frac: 1}\n",
        "bad.yaml:10: prompts.gate",
        ["unknown key", "frac"],
        id="unknown key of a hold-out",
    ),
    case("  gate: data/gate.jsonl\n", "  gate: {rows: 0}\n", "bad.yaml:10: prompts.gate", ["greater than 0"], id="hold out nothing"),
    case("compute:", "models: {policy: some/model}\ncompute:", "bad.yaml:21: models.policy", ["not both"], id="base and a model"),
    case("device: cpu", "device: gpu", "bad.yaml:21: compute.device", ["'gpu'", "cuda"], id="unknown device"),
    case("threads: 1", "memory_limit: plenty", "bad.yaml:21: compute.memory_limit", ["'plenty'", "1.5GB"], id="memory limit that is none"),
    case(
        "layers: 1, heads: 2",
        "layers: 1, heads: 3",
        "bad.yaml:6: base.model",
        ["hidden_size 16", "heads"],
        id="heads that do not divide the width",
    ),
    case("positions: 64", "positions: 64, pieces: '('", "bad.yaml:6: base.model.pieces", ["'('"], id="pieces that are no pattern"),
    case(
        "compute:",
        "stages: [{rounds: 0-1, generate: {smaples: 2}}]\ncompute:",
        "bad.yaml:21: generate.smaples",
        ["did you mean 'samples'"],
        id="unknown key in a stage",
    ),
    case("compute:", "stages: [{rounds: soon, seed: 1}]\ncompute:", "bad.yaml:21: stages", ["'soon'", "'0-1'"], id="stage without rounds"),
    case(
        "max_tokens: 8, batch: 16",
        "params: {speed: 3}",
        "bad.yaml:14: generate.params.speed",
        ["no such setting"],
        id="unknown backend setting",
    ),
    case(
        "compute:",
        "stages: [{rounds: 1, experiment: loop}]\ncompute:",
        "bad.yaml:21: stages.0.experiment",
        ["same in all rounds"],
        id="a stage that renames",
    ),
    case(
        "compute:",
        "stages:\n- rounds: 1-\n  score: [{verifier: maths}]\ncompute:",
        "bad.yaml:23: ",
        ["no score method 'maths'"],
        id="unknown scorer in a stage",
    ),
    case(
        "init: previous",
        "params: {beta: 3}, init: previous",
        "bad.yaml:19: train.params.beta",
        ["its params: packing"],
        id="unknown objective setting",
    ),
]


@pytest.mark.parametrize("old, new, place, parts", EDITS)
def test_a_broken_spec_is_named_with_its_place(bench: Bench, rondo: Rondo, old: str, new: str, place: str, parts: list[str]) -> None:
    bench.edit(old, new)
    before = bench.snapshot()
    for command in ("validate", "run"):
        said = message(rondo(command, "bad"), 2)
        assert all(part in said for part in [place, *parts]), said
    assert bench.snapshot() == before


TEXTS = [
    case(b"", ["bad.yaml", "found nothing"], id="empty"),
    case(b"# nothing yet\n", ["bad.yaml", "found nothing"], id="only a comment"),
    case(b"- rounds\n", ["bad.yaml", "expected a mapping"], id="a list"),
    case(b"raft\n", ["bad.yaml", "expected a mapping"], id="a word"),
    case(SPEC.encode().replace(b"seed: 3", b"description: caf\xe9"), ["bad.yaml:3", "UTF-8", "0xe9"], id="not UTF-8"),
    case(SPEC.encode().replace(b"seed: 3", b"description: \x01"), ["bad.yaml:3", "not YAML"], id="a control character"),
    case(SPEC.encode() + b"---\nexperiment: bad\n", ["bad.yaml:22", "single document"], id="two documents"),
    case(SPEC.encode().replace(b"seed: 3", b"description: &a [*a]"), ["bad.yaml", "alias that holds itself"], id="an alias inside itself"),
]


@pytest.mark.parametrize("text, parts", TEXTS)
def test_a_file_that_is_no_spec(bench: Bench, rondo: Rondo, text: bytes, parts: list[str]) -> None:
    bench.spec.write_bytes(text)
    before = bench.snapshot()
    for command in ("validate", "run"):
        said = message(rondo(command, "bad"), 2)
        assert all(part in said for part in parts), said
    assert bench.snapshot() == before


OVERRIDES = [
    case("seed", ["command line", "'seed'", "key.sub=value"], id="no value"),
    case("generate.smaples=2", ["command line", "generate.smaples", "did you mean 'samples'"], id="unknown key"),
    case("train.3.epochs=2", ["command line", "no item 3"], id="no such item"),
    case("seed.x=2", ["command line", "'seed' is a value (3)"], id="below a value"),
    case("seed=[2", ["command line", "not YAML"], id="not YAML"),
    case("rounds=-1", ["command line", "rounds", "greater than 0"], id="out of range"),
    case("score.0.verifier=maths", ["command line: score.0.verifier=maths", "no score method 'maths'"], id="unknown scorer"),
    case("=3", ["command line", "key.sub=value"], id="no key"),
]


@pytest.mark.parametrize("override, parts", OVERRIDES)
def test_a_broken_override(bench: Bench, rondo: Rondo, override: str, parts: list[str]) -> None:
    before = bench.snapshot()
    for command in ("validate", "run"):
        said = message(rondo(command, "bad", override), 2)
        assert all(part in said for part in parts), said
    assert bench.snapshot() == before


def test_specs_that_extend_each_other_in_a_circle(bench: Bench, rondo: Rondo) -> None:
    bench.edit("seed: 3", "extends: other")
    (bench.spec.parent / "other.yaml").write_text("extends: bad\n")
    before = bench.snapshot()
    said = message(rondo("run", "bad"), 2)
    assert "bad.yaml -> other.yaml -> bad.yaml" in said
    assert bench.snapshot() == before


def test_a_mistake_in_an_extended_file_names_that_file(bench: Bench, rondo: Rondo) -> None:
    bench.edit("seed: 3", "extends: other")
    (bench.spec.parent / "other.yaml").write_text("description: below\ngenerate:\n  top_p: 1.5\n")
    assert "other.yaml:3: generate.top_p: " in message(rondo("validate", "bad"), 2)


def test_every_mistake_of_a_spec_is_told_at_once(bench: Bench, rondo: Rondo) -> None:
    bench.edit("seed: 3", "seed: x")
    bench.edit("samples: 4", "samples: 0")
    said = message(rondo("validate", "bad"), 2)
    assert "bad.yaml:3: seed" in said and "bad.yaml:14: generate.samples" in said


@pytest.mark.parametrize("command", [["run"], ["validate"], ["plan"], ["status"]], ids=" ".join)
def test_an_experiment_that_is_not_there(bench: Bench, rondo: Rondo, command: list[str]) -> None:
    before = bench.snapshot()
    assert "no experiment or file 'lop'" in (said := message(rondo(*command, "lop"), 2)) and "did you mean 'loop'" in said
    assert bench.snapshot() == before


def test_a_gpu_on_a_machine_without_one(bench: Bench, rondo: Rondo) -> None:
    torch = pytest.importorskip("torch")
    number = torch.cuda.device_count()
    bench.edit("device: cpu", f"device: cuda:{number}")
    before = bench.snapshot()
    said = message(rondo("run", "bad"), 2)
    assert f"compute.device: 'cuda:{number}' was asked for, but torch" in said and "next: device: auto or cpu" in said
    assert bench.snapshot() == before
