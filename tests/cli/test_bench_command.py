"""rondo bench generate: a real measurement of a tiny model, its JSON, and bad input; nothing of the home changes."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import generate_tiny
import loop_home
from engine.generate.bench.subject import Subject
from engine.home import Home
from engine.report import known
from server import scripted

Rondo = Callable[..., Result]


@pytest.fixture
def tiny(home: Home, tmp_path: Path) -> Path:
    """A model folder, beside an experiment whose base is not trained."""
    loop_home.write(home.root)
    return generate_tiny.save(tmp_path / "model")


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_real_measurement_advises_and_leaves_the_home_as_it_was(home: Home, tiny: Path, rondo: Rondo, tmp_path: Path) -> None:
    before = everything(home.root)
    words = (
        "--backend",
        "transformers",
        "--model",
        tiny,
        "--batch",
        "4",
        "--prompts",
        "6",
        "--seconds",
        "1",
        "--json",
        tmp_path / "o.json",
    )
    result = rondo("bench", "generate", "loop", "generate.batch=8", *words)
    assert result.exit_code == 0, result.output
    assert everything(home.root) == before
    found = json.loads((tmp_path / "o.json").read_text())
    assert found["model"]["path"] == str(tiny) and (found["prompts"], found["samples"]) == (6, 4) and not found["cannot_run"]
    rows = found["settings"]
    assert [row["batch"] for row in rows] == [8, 4, 4] and [row["present"] for row in rows].count(True) == 1
    for row in rows:
        assert row["failed"] is None, row
        assert row["tokens_per_second"] > 0 and row["answers_per_second"] > 0 and row["start_seconds"] > 0 and row["repeats"]
        assert row["peak_bytes"] > 100e6, "a process with torch is larger"
    assert sum(row["fastest"] for row in rows) == 1
    # the promise of the backend, checked on the way: batches change no answer
    pairs = found["agreement"]
    assert len(pairs) == len(rows) - 1 and all(one["promised"] and one["answers"] > 0 and one["differ"] == 0 for one in pairs)
    assert found["advice"]["keep"] is (found["advice"]["spec"] == {})
    assert "gave the same answers" in result.stdout and "transformers" in result.stdout and "as in the spec" in result.stdout
    assert ("keep the spec as it is" in result.stdout) is found["advice"]["keep"]


def test_an_experiment_without_a_model_says_how_to_get_one(home: Home, tiny: Path, rondo: Rondo) -> None:
    result = rondo("bench", "generate", "loop")
    assert result.exit_code == 2
    assert (
        "its base is to be trained" in result.stderr
        and "rondo run loop --until base" in result.stderr
        and "--model FOLDER" in result.stderr
    )


@pytest.mark.parametrize(
    "words, told",
    [
        (("--backend", "transformer"), "did you mean 'transformers'?"),
        (("--batch", "0"), "--batch: expected whole numbers above 0, such as 32,128, found '0'"),
        (("--threads", "two"), "--threads: expected whole numbers above 0"),
        (("--seconds", "0"), "--seconds: expected more than 0"),
        (("--prompts", "-3"), "--prompts: expected more than 0"),
        (("--model", "./none"), "none"),
        (("generate.batch=0",), "generate.batch"),
    ],
)
def test_bad_input_stops_before_any_work(home: Home, tiny: Path, rondo: Rondo, words: tuple[str, ...], told: str) -> None:
    given = words if "--model" in words else (*words, "--model", str(tiny))
    result = rondo("bench", "generate", "loop", *given)
    assert result.exit_code in (1, 2) and told in result.stderr and "Traceback" not in result.output


def test_a_folder_that_is_no_model(home: Home, tiny: Path, rondo: Rondo) -> None:
    (tiny / "model.safetensors").unlink()
    result = rondo("bench", "generate", "loop", "--model", tiny)
    assert result.exit_code == 1 and "--model: no *.safetensors" in result.stderr


def test_an_unknown_experiment(home: Home, tiny: Path, rondo: Rondo) -> None:
    assert "no experiment or file 'lop'" in rondo("bench", "generate", "lop").stderr


def test_the_policy_of_a_home_is_found(ran: Home, rondo: Rondo) -> None:
    result = rondo("bench", "generate", "tiny", "--backend", "recorded", "--json", "-")
    found = json.loads(result.stdout)
    assert result.exit_code == 0 and found["settings"] == [] and found["advice"] is None
    assert "nothing to measure" in found["cannot_run"][0]["reason"]


def test_policy_and_base_of_a_home_and_a_folder(ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    status = json.loads(rondo("status", "tiny", "--json").stdout)
    promoted, base = status["rounds"][-1]["policy_out"], status["rounds"][0]["policy_out"]
    assert promoted != base
    own = known.load("tiny", ran)
    assert Subject(own).model.digest == promoted and Subject(own, "base").model.digest == base
    assert Subject(own).model.path == ran.checkpoints / promoted
    folder = generate_tiny.save(tmp_path / "model")
    assert Subject(own, str(folder)).model.path == folder
    assert Subject(own, "model").model.path == folder  # from the folder in which the command is given


def test_a_server_that_costs_is_asked_only_with_yes(home: Home, tiny: Path, rondo: Rondo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.generate.bench.grid._away", lambda own: None)
    monkeypatch.setattr("engine.generate.bench.run.bench", lambda *given: pytest.fail("it was asked"))
    server = "generate.params={url: 'http://127.0.0.1:1/v1', model: m, price_prompt: 1.0, price_response: 2.0}"
    result = rondo("bench", "generate", "loop", "generate.backend=openai", server)
    assert result.exit_code == 2 and "servers will get at most" in result.stderr and "--yes" in result.stderr


def test_a_servers_concurrency_is_measured_within_what_was_announced(home: Home, tiny: Path, rondo: Rondo) -> None:
    with scripted.Scripted(scripted.drawn) as server:
        own = f"generate.params={{url: '{server.url}', model: m, concurrency: 3, price_prompt: 1.0, price_response: 2.0}}"
        words = ("--concurrency", "1,8", "--prompts", "6", "--seconds", "1", "--yes", "--json", "-")
        result = rondo("bench", "generate", "loop", "generate.backend=openai", own, *words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(row["concurrency"], row["present"]) for row in found["settings"]] == [(3, True), (1, False), (8, False)]
    assert all(row["tokens_per_second"] > 0 and row["repeats"] for row in found["settings"]) and found["model"] is None
    announced = int(re.findall(r"at most ([\d,]+) requests", result.stderr)[0].replace(",", ""))
    assert 9 <= server.count <= announced == 3 * 3 * (6 * 4 + 1)
    # the server draws by the seed of each request, and those are the same however many are in flight
    assert found["agreement"] and all(one["differ"] == 0 for one in found["agreement"])


def test_help(rondo: Rondo) -> None:
    assert "bench" in rondo("--help").stdout and "generate" in rondo("bench", "--help").stdout
    assert "--concurrency" in rondo("bench", "generate", "--help").stdout
