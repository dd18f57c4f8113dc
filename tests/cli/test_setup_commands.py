"""init, validate, recipes, spec, env, gc and the frame around all commands."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from engine import specfile
from engine.cli import COMMANDS
from engine.home import Home
from engine.lake import Lake

Rondo = Callable[..., Result]
ROOT = Path(__file__).parents[2]


def test_init_writes_experiments_that_validate(home: Home, rondo: Rondo) -> None:
    result = rondo("init", "quickstart")
    assert result.exit_code == 0 and "  rondo run quickstart" in result.stdout.splitlines()
    arms = ["control", "unverified", "dart", "bstar", "kmq", "dpo", "sppo", "cream", "superhf", "grpo", "spin"]
    for name in ("quickstart", *(f"quickstart-{arm}" for arm in arms)):
        found = json.loads(rondo("validate", name, "--json").stdout)
        assert found["rows"]["train"] == (1000 if name == "quickstart-spin" else 8000) and found["rows"]["base"] == 1000
    assert not (home.root / "lake").exists() and rondo("init", "quickstart").exit_code == 0
    assert "did you mean 'quickstart'?" in rondo("init", "quikstart").stderr


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("rounds: 2", "runds: 2", "tiny.yaml:3: runds: unknown key; did you mean 'rounds'?"),
        ("rounds: 2", "rounds: many", "tiny.yaml:3: rounds"),
        ("data/train.jsonl", "data/tarin.jsonl", "tarin.jsonl"),
        ("verifier: exact", "verifier: exakt", "did you mean 'exact'?"),
        ("backend: recorded, samples", "backend: rekorded, samples", "did you mean 'recorded'?"),
        ("params: {top: 1}", "params: {tops: 1}", "tops"),
        ("select/raft.sql", "select/rraft.sql", "did you mean 'select/raft.sql'?"),
        ("metrics: [mean, length]", "metrics: [mean, lenght]", "did you mean 'length'?"),
        ("samples: 2, params: {path: data/answers.jsonl}", "samples: 2, params: {pth: data/answers.jsonl}", "did you mean 'path'?"),
        ("samples: 2, params: {path: data/answers.jsonl}", "samples: 2, params: {path: data/none.jsonl}", "none.jsonl"),
        ("objective: sft", "objective: stf", "did you mean 'sft'?"),
        ("test: data/test.jsonl", "test: data/train.jsonl", "train.jsonl:1"),
        ("per_round: 6", "per_round: 600", "the pool has 24 prompts"),
        ("reference: answer", "reference: anwser", "did you mean 'answer'?"),
    ],
)
def test_validate_names_cause_and_place_and_writes_nothing(ran: Home, rondo: Rondo, old: str, new: str, told: str) -> None:
    spec = ran.experiments / "tiny.yaml"
    text = spec.read_text()
    assert old in text
    spec.write_text(text.replace(old, new, 1))
    before = Lake(ran.lake).versions()
    for command in ("validate", "run"):
        result = rondo(command, "tiny", *(["rounds=3"] if command == "run" and "rounds" not in told else []))
        assert result.exit_code in (1, 2) and told in result.stderr, result.output
        assert "Traceback" not in result.output and Lake(ran.lake).versions() == before


def test_validate_passes_with_overrides(ran: Home, rondo: Rondo) -> None:
    assert "good, 5 rounds" in rondo("validate", "tiny", "rounds=5", "prompts.per_round=4").stdout


def test_recipes_are_listed_and_printed(rondo: Rondo) -> None:
    listed = json.loads(rondo("recipes", "--json").stdout)
    assert [row["name"] for row in listed] == sorted(specfile.recipes()) and all(row["description"] for row in listed)
    assert yaml.safe_load(rondo("recipes", "raft").stdout)["select"]["sql"] == "select/raft.sql"
    assert "did you mean 'raft'?" in rondo("recipes", "rraft").stderr


def test_spec_prints_every_field_with_type_default_unit_and_description(rondo: Rondo) -> None:
    fields = {row["name"]: row for row in json.loads(rondo("spec", "--json").stdout)}
    assert fields["experiment"]["default"] == "(required)" and fields["generate.samples"]["default"] == "8"
    assert fields["train[].order"]["type"] == "random | selected" and fields["prompts.per_round"]["unit"] == "prompts"
    assert fields["train[].lora.r"]["type"] == "integer (> 0)" and fields["gate.require[].min_delta"]["description"]
    assert not [name for name, row in fields.items() if not row["description"]]
    assert "generate.top_p" in rondo("spec", "generate").stdout and "gate.on_fail" not in rondo("spec", "generate").stdout
    assert rondo("spec", "generat3").exit_code == 2


def test_methods_of_every_kind_are_listed_with_their_settings(rondo: Rondo) -> None:
    found = json.loads(rondo("methods", "--json").stdout)
    assert {row["kind"] for row in found} >= {"verifier", "measure", "picker", "embedder", "backend", "objective"}
    assert not [row["name"] for row in found if row["trouble"] is None and not row["description"]]
    known = {(row["kind"], row["name"]): row for row in found}
    assert known["embedder", "hashed_ngrams"]["field"] == "cluster[].embedder" and [
        one["name"] for one in known["objective", "sft"]["settings"]
    ] == ["params.packing"]
    assert "params.pattern" in {one["name"] for one in known["verifier", "regex"]["settings"]}
    text = rondo("methods").stdout
    assert all(row["name"] in text for row in found)
    assert "params.pattern" in rondo("methods", "regex").stdout
    assert {row["kind"] for row in json.loads(rondo("methods", "picker", "--json").stdout)} == {"picker"}
    assert "did you mean 'regex'?" in rondo("methods", "regx").stderr


def test_env_names_what_runs(home: Home, rondo: Rondo) -> None:
    found = json.loads(rondo("env", "--json").stdout)
    assert found["home"] == str(home.root) and found["packages"]["duckdb"].startswith("2.") and found["torch device"]


def test_gc_reports_and_keeps_the_experiment_whole(ran: Home, rondo: Rondo) -> None:
    assert rondo("gc", "--dry-run").exit_code == 0
    report = json.loads(rondo("gc", "--older-than", "0", "--json").stdout)
    assert report["dry_run"] is False and report["kept_versions"]["selected"]
    assert json.loads(rondo("run", "tiny", "--json").stdout)["steps"] == []
    assert rondo("lineage", "tiny@1").exit_code == 0


def test_the_home_option_stands_before_or_after_the_command(ran: Home, rondo: Rondo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RONDO_HOME")
    for words in (("--home", ran.root, "status", "--json"), ("status", "--home", ran.root, "--json")):
        assert [row["experiment"] for row in json.loads(rondo(*words).stdout)] == ["tiny"]
    assert json.loads(rondo("status", "--json").stdout) == []


def test_what_only_looks_loads_nothing_heavy(ran: Home) -> None:
    heavy = {"torch", "transformers", "trl", "dagster", "datasets", "polars", "pandas", "faiss", "math_verify", "altair"}
    code = (
        "import sys; from engine.cli import app\n"
        "for words in (['--help'], ['sql', 'select 1'], ['status', 'tiny'], ['status'], ['plan', 'tiny'], ['run', 'tiny']):\n"
        "    try: app(words)\n"
        "    except SystemExit as end: assert not end.code, end.code\n"
        "print('LOADED', *sorted(set(sys.modules) & set(sys.argv[1].split())))"
    )
    found = subprocess.run([sys.executable, "-c", code, " ".join(heavy)], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.splitlines()[-1].split() == ["LOADED"]


def test_every_command_has_help(rondo: Rondo) -> None:
    text = rondo("--help").stdout.partition("Commands:")[2]
    names = [*(command.__name__ for command in COMMANDS), "import"]
    assert len(names) == 21
    for name in names:
        assert f"\n  {name} " in text and rondo(name, "--help").exit_code == 0
    assert rondo("--version").stdout.startswith("rondo ")
