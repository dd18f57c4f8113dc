"""Labels of people: a part of scores that no step writes, merged by answer, the same whatever the order of the file."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.errors import LockError
from engine.home import Home
from engine.run import Driver
from engine.score import verifiers
from engine.score.human import Label, store
from engine.score.measures import measures
from engine.spec import Scorer
from small_lake import SmallLake, spec


def label(item: str, verdict: str | None = "right", value: float = 1.0, weight: float = 2.0) -> Label:
    return Label(item, "c" * 16, "p1", verdict, value, weight, "doubtful", "near")


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    small = SmallLake(tmp_path)
    return Driver(spec(), tmp_path / "small.yaml", Home(tmp_path), lake=small.lake)


def rows(driver: Driver) -> dict[str, dict[str, object]]:
    found = driver.lake.read("scores", experiment="small", rounds=[0], part="rollout/human").to_pylist()
    return {row["item_id"]: row for row in found}


def test_labels_are_merged_and_the_order_of_a_file_changes_nothing(driver: Driver) -> None:
    with driver:
        first = store(driver, 0, "rollout", [label("b"), label("a", "wrong", 0.0)])
        assert (first.added, first.replaced, first.unchanged, first.labels) == (2, 0, 0, 2)
        version, seen = driver.lake.version("scores"), rows(driver)
        again = store(driver, 0, "rollout", [label("a", "wrong", 0.0), label("b")])
        assert (again.added, again.replaced, again.unchanged) == (0, 0, 2)
        assert driver.lake.version("scores") == version and rows(driver) == seen
        later = store(driver, 0, "rollout", [label("b", None, 0.25), label("c")])
        assert (later.added, later.replaced, later.labels) == (1, 1, 3)
        found = rows(driver)
        assert (found["b"]["verdict"], found["b"]["value"]) == (None, 0.25)
        assert found["a"] == seen["a"] and found["a"]["scorer_version"] != found["b"]["scorer_version"] == found["c"]["scorer_version"]
        store(driver, 1, "eval", [label("x")])
        assert len(rows(driver)) == 3


def test_a_driver_that_has_lost_the_experiment_stores_nothing(driver: Driver) -> None:
    with driver:
        driver.lock.path.unlink()
        with pytest.raises(LockError):
            store(driver, 0, "rollout", [label("a")])
        assert rows(driver) == {}


def test_the_name_is_taken() -> None:
    assert "human" not in verifiers.names() and "human" not in measures.names()
    with pytest.raises(ValidationError, match="not 'score' or 'human'"):
        Scorer(verifier="exact", name="human")
