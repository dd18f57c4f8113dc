"""Silhouettes, labels, matching over rounds, and how k is chosen."""

import numpy as np
import pytest

from engine.cluster.choose import clustered
from engine.cluster.labels import labels
from engine.cluster.match import Earlier, matched
from engine.cluster.quality import sampled, silhouettes
from engine.errors import StepError
from engine.randomness import row_keys
from engine.spec import Cluster


def groups(sizes: list[int], d: int = 5, apart: float = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    dice = np.random.default_rng(seed)
    which = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.eye(max(d, len(sizes)), dtype=np.float32)[: len(sizes), :d] * apart
    return (centres[which] + dice.standard_normal((len(which), d))).astype(np.float32), which


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_silhouettes_are_those_of_scikit_learn(metric) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    vectors, which = groups([30, 20, 1, 9], apart=2)
    theirs = metrics.silhouette_samples(vectors.astype(np.float64), which, metric={"l2": "euclidean", "cosine": "cosine"}[metric])
    np.testing.assert_allclose(silhouettes(vectors, which, metric), theirs, atol=1e-6)


def test_silhouettes_where_there_is_little_to_compare() -> None:
    vectors, _ = groups([6])
    assert silhouettes(vectors, np.zeros(6, int), "l2").tolist() == [0] * 6
    twins = np.zeros((4, 3), np.float32)
    assert silhouettes(twins, np.array([0, 0, 1, 1]), "l2").tolist() == [0] * 4


def test_a_sample_follows_the_keys_and_not_the_order() -> None:
    names = [f"p{i}" for i in range(50)]
    keys = row_keys(1, 0, "sample", names)
    chosen = {names[i] for i in sampled(keys, 10)}
    back = sampled(keys[::-1], 10)
    assert len(chosen) == 10 and {names[::-1][i] for i in back} == chosen
    assert len(sampled(keys)) == 50


def test_labels_are_the_words_that_stand_out() -> None:
    texts = ["How many apples are in the basket? The apples are red.", "Two baskets of apples", "The train is late", "A train and a 12 car"]
    assert labels(texts, [0, 0, 1, 1], 3) == ["apples, basket, baskets, red", "train, car, late", None]
    assert labels(["12 + 5", "7 7"], [0, 1], 2) == ["12, 5", "7"]
    assert labels(["the", "?!"], [0, 1], 2) == ["the", "!, ?"]


def test_ids_follow_the_centroids_they_lie_next_to() -> None:
    before = Earlier(np.array([4, 7, 9]), np.array([[0, 0], [10, 0], [0, 10]], np.float32), unused=12, round=3)
    ids, shift = matched(np.array([[0, 11], [1, 0], [10, 2]], np.float32), before, "l2")
    assert ids.tolist() == [9, 4, 7] and shift.tolist() == [1, 1, 2]
    ids, shift = matched(np.array([[5, 5], [10, 0], [0, 10], [0, 0]], np.float32), before, "l2")
    assert ids.tolist() == [12, 7, 9, 4] and np.isnan(shift[0]) and shift[1:].tolist() == [0, 0, 0]
    ids, _ = matched(np.array([[9, 0]], np.float32), before, "l2")
    assert ids.tolist() == [7]


def test_the_matching_is_the_best_of_all_not_the_nearest_first() -> None:
    before = Earlier(np.array([0, 1]), np.array([[0], [3]], np.float32), unused=2, round=0)
    ids, _ = matched(np.array([[2], [-4]], np.float32), before, "l2")
    assert ids.tolist() == [1, 0]
    ids, _ = matched(np.array([[4], [1.6]], np.float32), before, "l2")  # 1.6 is nearer to 3, which 4 needs more
    assert ids.tolist() == [1, 0]


def test_a_cosine_shift_is_one_less_the_cosine() -> None:
    before = Earlier(np.array([0]), np.array([[2, 0]], np.float32), unused=1, round=0)
    _, shift = matched(np.array([[3, 3]], np.float32), before, "cosine")
    assert shift[0] == pytest.approx(1 - 2**-0.5, abs=1e-6)


class TestK:
    """How many clusters."""

    vectors, which = groups([40, 30, 20, 30], apart=12)
    keys = row_keys(3, 0, "k", (str(i) for i in range(120)))

    def test_the_best_silhouette_finds_the_groups(self) -> None:
        entry = Cluster(rule="silhouette", candidates=(2, 3, 4, 8, 500), restarts=8)
        made, detail = clustered(entry, self.vectors, self.keys, 1)
        assert detail["k"] == 4 == len(made.centroids) and detail["too_many"] == [500]
        assert set(detail["candidates"]) == {"2", "3", "4", "8"} and max(detail["candidates"].values()) == detail["candidates"]["4"]
        assert all(len(set(made.assignment[self.which == group])) == 1 for group in range(4))

    def test_no_fitting_candidate_is_an_error(self) -> None:
        with pytest.raises(StepError, match="fits 120 different vectors"):
            clustered(Cluster(rule="silhouette", candidates=(200,)), self.vectors, self.keys, 1)

    def test_the_square_root_never_exceeds_the_different_vectors(self) -> None:
        assert clustered(Cluster(rule="sqrt"), self.vectors, self.keys, 1)[1] == {"k": 11}
        twins = np.repeat(self.vectors[:3], 40, axis=0)
        made, detail = clustered(Cluster(rule="sqrt"), twins, self.keys, 1)
        assert detail == {"k": 3} and made.sizes.tolist() == [40, 40, 40]

    def test_fixed(self) -> None:
        assert len(clustered(Cluster(k=5), self.vectors, self.keys, 1)[0].centroids) == 5
