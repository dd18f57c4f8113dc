"""What goes wrong only while a step runs, and homes that cannot be written: the finished steps stay, and a mended run goes on."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import loop_home
from bad_home import Bench, message
from engine.lake import Lake
from engine.ledger import Ledger
from full_disk import largest_file

Rondo = Callable[..., Result]
case = pytest.param


def kept(bench: Bench, before: dict[str, str]) -> bool:
    """Whether every part of the finished experiment still has its content."""
    return loop_home.contents(Lake(str(bench.home / "lake")), "loop") == before


def done(bench: Bench, name: str = "bad") -> set[tuple[int, str]]:
    """The steps that the ledger has."""
    return set(Ledger(Lake(str(bench.home / "lake")), name).entries)


def mine(text: str) -> Callable[[Bench], None]:
    """The selection from a file beside the spec."""

    def change(bench: Bench) -> None:
        (bench.spec.parent / "mine.sql").write_text(text)
        bench.edit("{sql: select/random.sql, params: {per_prompt: 1}}", "{sql: mine.sql}")

    return change


def recorded(bench: Bench) -> None:
    """Answers of a file that has one for a single prompt."""
    bench.put("answers.jsonl", {"prompt": "0+1=", "response": ["1"]})
    bench.edit("max_tokens: 8, batch: 16", "backend: recorded, params: {path: data/answers.jsonl}")


STEPS = [
    case(
        mine("select prompt_id, generation_id from scored where score > 99"),
        "selected",
        1,
        ["mine.sql", "chose nothing", "of 96 answers", "best score", "verdicts"],
        id="an empty selection",
    ),
    case(
        mine("select prompt_id, 'x' as generation_id from scored"),
        "selected",
        2,
        ["mine.sql: column generation_id, row 1", "'x' is no rollout of this round"],
        id="an answer that is not there",
    ),
    case(
        mine("select null as prompt_id, generation_id from scored"),
        "selected",
        2,
        ["mine.sql: column prompt_id, row 1", "null", "96 such rows"],
        id="rows without a prompt",
    ),
    case(
        mine("select prompt_id, generation_id from scored union all select prompt_id, generation_id from scored"),
        "selected",
        2,
        ["mine.sql: column row_id", "stands 2 times"],
        id="rows that stand twice",
    ),
    case(
        mine("select prompt_id, generation_id, -1 as weight from scored"),
        "selected",
        2,
        ["mine.sql: column weight", "-1 is no weight"],
        id="negative weights",
    ),
    case(
        mine("select prompt_id, generation_id, 'a' || sample::int / 0 as reason, reason::int as rank from scored"),
        "selected",
        2,
        ["mine.sql", "Could not convert"],
        id="an error while the SQL computes",
    ),
    case(
        lambda b: b.edit("{per_prompt: 1}", "{per_prompt: many}"), "selected", 2, ["random.sql", "many"], id="a parameter of a wrong type"
    ),
    case(
        recorded,
        "generations",
        2,
        ["answers.jsonl", "24 of 24 prompts have fewer than 4 recorded answers", "and 19 more"],
        id="too few recorded answers",
    ),
    case(
        lambda b: b.edit(
            "none, data: cumulative, max_steps: 8, batch_size: 8, learning_rate: 1e-2, max_length: 64",
            "none, data: cumulative, max_steps: 8, batch_size: 8, learning_rate: 1e-2, max_length: 4",
        ),
        "checkpoint",
        1,
        ["row ", "tokens, allowed are 4", "train.max_length"],
        id="max_length too short",
    ),
]
MENDED = ("verdicts", "and 19 more", "train.max_length")  # the last words of the cases that are mended and run on: one a step


@pytest.mark.parametrize("broken, step, code, parts", STEPS)
def test_a_step_that_fails_is_not_done_and_a_mended_run_goes_on(
    open_round: Bench, rondo: Rondo, broken: Callable[[Bench], None], step: str, code: int, parts: list[str]
) -> None:
    bench = open_round
    sound, before, had = bench.spec.read_text(), loop_home.contents(bench.lake, "loop"), loop_home.attempts(bench.lake, "bad")
    broken(bench)
    said = message(rondo("run", "bad"), code)
    assert all(part in said for part in parts), said
    after = loop_home.attempts(bench.lake, "bad")
    assert kept(bench, before) and after.get((0, step)) == had.get((0, step))
    assert {key for key in had if after[key] != had[key]} <= {(0, "opening")}
    if parts[-1] in MENDED:
        bench.spec.write_text(sound)
        again = rondo("run", "bad", "--until", "0")
        assert again.exit_code == 0, again.stderr
        assert (0, "promotion") in done(bench) and kept(bench, before)


def test_a_score_that_is_not_finite(bench: Bench, rondo: Rondo) -> None:
    bench.edit("math + format", "math / (format - format)")
    said = message(rondo("run", "bad"), 1)
    assert "combine: 'math / (format - format)' is not finite for generation" in said
    assert (-1, "eval_scores_math") in done(bench) and (-1, "eval_score") not in done(bench)


def test_a_vocabulary_that_does_not_hold_the_data(bench: Bench, rondo: Rondo) -> None:
    bench.edit("vocabulary: 160", "vocabulary: 20")
    said = message(rondo("run", "bad"), 2)
    assert "base.model.vocabulary: 20 entries" in said and "at least" in said
    assert (-1, "checkpoint") not in done(bench)


def test_a_pool_that_runs_out(bench: Bench, rondo: Rondo) -> None:
    before = loop_home.contents(bench.lake, "loop")
    said = message(rondo("run", "loop", "rounds=3", "prompts.per_round=60"), 2)
    assert "loop.yaml" in said and "round 2 needs 60 prompts, 42 are left of 90" in said and "prompts.epochs to 2" in said
    assert kept(bench, before) and (2, "prompts") not in done(bench, "loop")
    assert rondo("run", "loop", "rounds=3", "prompts.per_round=60", "prompts.epochs=2", "--until", "2").exit_code == 0
    assert (2, "promotion") in done(bench, "loop")


def test_a_checkpoint_that_vanished_or_changed(bench: Bench, rondo: Rondo) -> None:
    policy = loop_home.load(bench.home).checkpoint(1).path
    away = policy.rename(policy.with_name("elsewhere"))
    before = bench.snapshot()
    said = message(rondo("run", "loop", "rounds=3"), 1)
    assert f"checkpoint {policy.name} of round 1 has vanished" in said and str(policy) in said and "--from 1" in said
    assert bench.snapshot() == before
    away.rename(policy)
    weights = policy / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"\x7f")
    said = message(rondo("run", "loop", "rounds=3"), 1)
    assert "files have changed: expected digest" in said and str(policy) in said
    weights.write_bytes(whole)
    assert rondo("run", "loop", "rounds=3").exit_code == 0


def test_an_experiment_that_another_process_drives(bench: Bench, rondo: Rondo) -> None:
    path = bench.home / "locks" / "loop.lock"
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); f.write('somebody'); f.flush(); print(); input()"
    with subprocess.Popen([sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        before = bench.snapshot()
        for words in ("run loop rounds=3", "promote loop@0 --force --reason x", "rollback loop --reason x"):
            said = message(rondo(*words.split()), 4)
            assert "loop is being driven by somebody" in said and str(path) in said
        assert bench.snapshot() == before
        other.communicate(b"\n")


FILES = [
    case(100, [], "cannot write table steps", id="not even the ledger"),
    case(12_000, ["base.train.max_steps=5"], "cannot write the untrained model", id="no model"),
    case(20_000, ["base.train.max_steps=5"], "cannot write a trainer state", id="no trainer state"),
]


@pytest.mark.parametrize("size, changed, part", FILES)
def test_files_that_cannot_grow(bench: Bench, rondo: Rondo, size: int, changed: list[str], part: str) -> None:
    before = loop_home.contents(bench.lake, "loop")
    with largest_file(size):
        said = message(rondo("run", "bad", *changed), 1)
    assert part in said and str(bench.home) in said and "free space" in said, said
    assert kept(bench, before) and (-1, "evaluation") not in done(bench)
    assert rondo("run", "bad", *changed, "--until", "base").exit_code == 0
    assert (-1, "promotion") in done(bench) and kept(bench, before)


def test_a_home_that_cannot_be_made(bench: Bench, rondo: Rondo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    home = tmp_path / "file" / "home"
    for words, code in ((["run", bench.spec], 1), (["init", "quickstart"], 2)):
        said = message(rondo(*words, "--home", home), code)
        assert str(home) in said and "Not a directory" in said


MOUNTS = ["unshare", "--mount", "--map-root-user"]
TRIAL = [*MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"]
needs_mounts = pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(TRIAL, capture_output=True).returncode != 0,
    reason="this process may not mount anything in a namespace of its own",
)


def confined(mount: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`rondo` in a process of its own, after the shell commands `mount` in a mount namespace of its own."""
    program = f"set -e; {mount}; exec {sys.executable} -m engine.cli {' '.join(words)}"
    root = Path(__file__).parent.parent.parent
    return subprocess.run([*MOUNTS, "sh", "-c", program], capture_output=True, text=True, cwd=root, timeout=300)


@needs_mounts
@pytest.mark.parametrize(
    "folder, changed",
    [(".", ""), ("lake", ""), ("checkpoints", "select.params.per_prompt=2"), ("journal", "score.1.params.pattern=Ans")],
)
def test_a_folder_that_is_read_only(bench: Bench, folder: str, changed: str) -> None:
    place = bench.home / folder
    before = bench.snapshot()
    result = confined(f"mount --bind {place} {place}; mount -o remount,bind,ro {place}", "run", "bad", changed)
    assert result.returncode == 1 and "Traceback" not in result.stderr, result.stderr
    assert "Read-only file system" in result.stderr and str(place.resolve()) in result.stderr
    if folder in (".", "lake"):
        assert bench.snapshot() == before


@needs_mounts
def test_a_disk_that_is_full(bench: Bench, rondo: Rondo) -> None:
    """A lake on a small disk with 120 KiB left: some steps are copied, then none."""
    before = loop_home.contents(bench.lake, "loop")
    lake, real = bench.home / "lake", bench.home / "real"
    lake.rename(real)
    lake.mkdir()
    mount = (
        f"mount -t tmpfs -o size=8m none {lake}; cp -a {real}/. {lake}; "
        f"dd if=/dev/zero of={lake}/filler bs=1k count=$(( $(df -k --output=avail {lake} | tail -1) - 120 )) status=none"
    )
    after = f"; {sys.executable} -m engine.cli run bad || echo code $? >&2; rm {lake}/filler; cp -a {lake}/. {real}; :"
    result = confined(mount + after, "--version")
    assert "code 1" in result.stderr and "Traceback" not in result.stderr, result.stderr
    assert "No space left" in result.stderr and "free space" in result.stderr
    shutil.rmtree(lake)
    real.rename(lake)
    assert kept(bench, before)
    assert rondo("run", "bad", "--until", "0").exit_code == 0
    assert (0, "promotion") in done(bench) and kept(bench, before)
