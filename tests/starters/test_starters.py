"""What `rondo init` writes: valid experiments on one base, problems that keep their ranges, and held-out sets apart from the pool."""

import json

import pytest
import yaml

from engine import prompts, score, specfile, starters
from engine.errors import DataError, SpecError
from engine.score import Answer, make
from engine.spec import Scorer
from engine.starters.problems import SIZES, TOPICS, WORDS, problems


@pytest.fixture(scope="module")
def made():
    return problems()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("home") / "experiments"
    starters.create("quickstart", home)
    return home


@pytest.mark.parametrize("name", ["quickstart", "quickstart-control", "quickstart-unverified"])
def test_experiments_are_valid_and_share_a_base(folder, name):
    path = folder / f"{name}.yaml"
    spec, main = specfile.load(path), specfile.load(folder / "quickstart.yaml")
    score.check(spec)
    assert prompts.check(spec, path) == {"train": 8000, "gate": 300, "test": 600, "base": 1000}
    assert spec.experiment == name
    for part in ("base", "seed", "prompts", "score", "combine", "evaluate", "train", "compute"):
        assert getattr(spec, part) == getattr(main, part), part


def test_every_recipe_becomes_a_spec(tmp_path):
    for name in specfile.recipes():
        lines = {"experiment": "e", "extends": name, "models": {"policy": "m"}, "prompts": {"train": "train.jsonl", "per_round": 9}}
        lines["score"] = [{"verifier": "math"}]
        source = specfile.read_yaml(specfile.recipes()[name])
        assert source.values["description"], name
        if "models" in source.values or "base" in source.values:
            lines.pop("models")
        if "score" in source.values:
            lines.pop("score")
        (tmp_path / "e.yaml").write_text(yaml.safe_dump(lines))
        specfile.load(tmp_path / "e.yaml")


def test_sizes_topics_and_disjoint_sets(made):
    assert {split: len(rows) for split, rows in made.items()} == SIZES
    questions = [row.question for rows in made.values() for row in rows]
    assert len(set(questions)) == len(questions)
    homes = {split: {row.home() for row in rows} for split, rows in made.items()}
    assert homes == {"test": {"test"}, "gate": {"gate"}, "base": {"pool"}, "train": {"pool"}}
    numbers = {split: {(r.topic, r.numbers) for r in rows if len(r.numbers) > 2} for split, rows in made.items()}
    assert not (numbers["base"] | numbers["train"]) & (numbers["gate"] | numbers["test"])
    for split in ("gate", "test"):
        assert {t: sum(r.topic == t for r in made[split]) for t in TOPICS} == dict.fromkeys(TOPICS, SIZES[split] // 6)
    pairs = {(r.topic, r.numbers) for split in ("base", "train") for r in made[split]}
    two = [(r.topic, r.numbers) for r in made["test"] + made["gate"] if len(r.numbers) == 2]
    assert sum(pair in pairs for pair in two) / len(two) > 0.9, "the README says that nearly all pairs occur"


def test_topic_weights(made):
    words = yaml.safe_load(WORDS.read_text())
    total = sum(topic["weight"] for topic in words["topics"].values())
    for name, topic in words["topics"].items():
        share = sum(row.topic == name for row in made["train"]) / SIZES["train"]
        assert abs(share - topic["weight"] / total) < 0.02, name


def test_solutions_are_right_and_numbers_small(made):
    verifiers = [make(Scorer(verifier=name)) for name in ("math", "arithmetic_steps")]
    for rows in made.values():
        for row in rows:
            assert all(v.verify(Answer(row.solution, str(row.answer))).verdict == "right" for v in verifiers), row
            assert row.solution.startswith(" ") and row.solution.endswith(f". Answer: {row.answer}")
            assert 0 < row.answer < 100 and all(0 < n < 100 for n in row.numbers)
            assert all(str(n) in row.question for n in row.numbers[:2]) and "{" not in row.question


def test_ranges(made):
    checks = {
        "gain": lambda a, b: 2 <= a <= 40 and 2 <= b <= 12,
        "loss": lambda a, b: 6 <= a <= 40 and 2 <= b <= min(20, a - 1),
        "packs": lambda a, b, c: 2 <= a <= 5 and 2 <= b <= 8 and 2 <= c <= 12,
        "share": lambda a, k, e: a % k == 0 and 2 <= k <= 6 and 2 <= a // k <= 9 and 2 <= e <= 12,
        "shop": lambda a, b, p: 2 <= a <= 4 and 2 <= b <= 5 and a * b < p <= 40,
        "chain": lambda a, b, c, x: 3 <= a <= 20 and 2 <= b <= 12 and 2 <= c <= 12 and 1 <= a + b - c <= 20 and x in (2, 3),
    }
    assert all(checks[row.topic](*row.numbers) for rows in made.values() for row in rows)


def test_the_seed_decides_the_data(made):
    assert problems() == made
    assert {r.question for r in problems(1)["test"]} != {r.question for r in made["test"]}


def test_files(folder):
    rows = [json.loads(line) for line in (folder / "quickstart" / "base.jsonl").read_text().splitlines()]
    assert set(rows[0]) == {"question", "answer", "topic", "response"}
    assert set(json.loads((folder / "quickstart" / "train.jsonl").read_text().splitlines()[0])) == {"question", "answer", "topic"}
    assert "97%" in (folder / "quickstart" / "README.md").read_text()


def test_nothing_is_overwritten(tmp_path):
    first = starters.create("gsm8k", tmp_path)
    assert starters.create("gsm8k", tmp_path) == first
    first[0].write_text("mine")
    with pytest.raises(DataError, match="never overwrites") as caught:
        starters.create("gsm8k", tmp_path)
    assert caught.value.where == str(first[0]) and first[0].read_text() == "mine"


def test_gsm8k_takes_the_users_files(tmp_path):
    rows = [{"question": f"{i}+1?", "answer": f"<<{i}+1={i + 1}>>\n#### {i + 1}"} for i in range(400)]
    for name, part in (("my train.jsonl", rows[:350]), ("t.jsonl", rows[350:])):
        (tmp_path / name).write_text("\n".join(map(json.dumps, part)))
    (path,) = starters.create("gsm8k", tmp_path / "experiments", train=tmp_path / "my train.jsonl", test=tmp_path / "t.jsonl")
    spec = specfile.load(path, ["prompts.per_round=50"])
    score.check(spec)
    assert prompts.check(spec, path) == {"train": 50, "gate": 300, "test": 50}
    with pytest.raises(DataError, match="no data file"):
        starters.create("gsm8k", tmp_path / "other", train=tmp_path / "gone.jsonl")


def test_wrong_names():
    with pytest.raises(SpecError, match="no starter 'quickstat'"):
        starters.create("quickstat", "x")
    with pytest.raises(SpecError, match="no option 'sead'"):
        starters.create("quickstart", "x", sead=1)
