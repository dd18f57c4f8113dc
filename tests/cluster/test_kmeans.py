"""K-means and SemDeDup: the same bits again, brute force as the reference, errors that say what is wrong."""

import math
from typing import Literal

import faiss
import numpy as np
import pytest

from engine.cluster.kmeans import assign, distinct, drawn, kmeans, normalised
from engine.cluster.semdedup import semdedup
from engine.errors import StepError


def blobs(n: int = 600, d: int = 12, centres: int = 5, seed: int = 0) -> np.ndarray:
    dice = np.random.default_rng(seed)
    return (dice.standard_normal((centres, d))[np.arange(n) % centres] * 3 + dice.standard_normal((n, d))).astype(np.float32)


def brute(vectors: np.ndarray, centroids: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    if metric == "cosine":
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        all_ = 1 - units.astype(np.float64) @ centroids.astype(np.float64).T
    else:
        all_ = np.linalg.norm(vectors.astype(np.float64)[:, None] - centroids.astype(np.float64)[None], axis=2)
    return all_.argmin(axis=1), all_.min(axis=1)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_assignment_and_distances_are_those_of_brute_force(metric: Literal["l2", "cosine"]) -> None:
    vectors = blobs()
    made = kmeans(vectors, 7, seed=3, metric=metric)
    ids, distances = brute(vectors, made.centroids, metric)
    assert (made.assignment == ids).all()
    np.testing.assert_allclose(made.distances, distances, atol=1e-6)
    assert made.sizes.sum() == len(vectors) and made.empty == 0 and made.trained_on == len(vectors)
    if metric == "cosine":
        np.testing.assert_allclose(np.linalg.norm(made.centroids, axis=1), 1, atol=1e-5)


def test_blobs_are_found() -> None:
    made = kmeans(blobs(), 5, seed=1, restarts=20)
    assert all(len(set(made.assignment[start::5])) == 1 for start in range(5))


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_same_seed_same_bits_for_any_number_of_threads(metric: Literal["l2", "cosine"]) -> None:
    vectors, before = blobs(3000, 40, 9), faiss.omp_get_max_threads()
    made = []
    try:
        for threads in (1, 2, 3):
            faiss.omp_set_num_threads(threads)
            made.append(kmeans(vectors, 30, seed=11, metric=metric, restarts=2))
    finally:
        faiss.omp_set_num_threads(before)
    for other in made[1:]:
        assert other.centroids.tobytes() == made[0].centroids.tobytes()
        assert other.assignment.tobytes() == made[0].assignment.tobytes() and other.distances.tobytes() == made[0].distances.tobytes()
    assert kmeans(vectors, 30, seed=12, metric=metric).centroids.tobytes() != made[0].centroids.tobytes()


def test_trained_on_all_items_unless_fewer_are_asked_for() -> None:
    vectors = blobs(1200)
    default = faiss.Kmeans(12, 3, niter=20, seed=5)  # 256 a cluster: 768 of 1200
    default.train(vectors)
    made = kmeans(vectors, 3, seed=5)
    assert made.trained_on == 1200 and made.centroids.tobytes() != default.centroids.tobytes()
    few = kmeans(vectors, 3, seed=5, train_rows=100)
    rows = drawn(1200, 100, 5)
    assert few.trained_on == 100 == len(set(rows)) and len(few.assignment) == 1200
    again = kmeans(vectors[rows], 3, seed=5)
    assert again.centroids.tobytes() == few.centroids.tobytes()


def test_more_restarts_are_never_worse_and_first_centroids_can_be_given() -> None:
    vectors = blobs(400, 4, 9)
    one, best = kmeans(vectors, 9, seed=2), kmeans(vectors, 9, seed=2, restarts=8)
    assert best.objective <= one.objective * (1 + 1e-6)
    given = kmeans(vectors, 9, seed=99, init=best.centroids, iterations=1)
    assert given.objective <= best.objective * (1 + 1e-6)
    assert [np.argmin(np.linalg.norm(given.centroids - c, axis=1)) for c in best.centroids] == list(range(9))


def test_of_equally_near_centroids_the_smaller_id() -> None:
    centroids = np.array([[9.0, 9.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]], np.float32)
    ids, distances = assign(np.array([[0.0, 0.0], [1.0, 0.0], [-2.0, 0.0]], np.float32), centroids)
    assert ids.tolist() == [1, 1, 2] and distances.tolist() == [1, 0, 1]


def test_errors_say_what_was_asked_for_and_what_there_is() -> None:
    vectors = blobs(20)
    with pytest.raises(StepError, match="21 clusters of 20 vectors"):
        kmeans(vectors, 21, seed=0)
    twice = np.repeat(vectors[:3], 5, axis=0)
    assert distinct(twice) == 3
    with pytest.raises(StepError, match="4 clusters of 15 vectors, of which only 3 differ"):
        kmeans(twice, 4, seed=0)
    assert kmeans(twice, 3, seed=0, restarts=5).objective == pytest.approx(0, abs=1e-6)
    vectors[7, 2] = np.nan
    with pytest.raises(StepError, match="vector 7"):
        kmeans(vectors, 2, seed=0)
    with pytest.raises(StepError, match="cannot be trained on 2"):
        kmeans(blobs(20), 3, seed=0, train_rows=2)
    with pytest.raises(StepError, match="12 dimensions"):
        assign(blobs(20), np.zeros((3, 11), np.float32))


@pytest.mark.parametrize("seed", range(4))
def test_many_equal_vectors_leave_no_cluster_empty(seed: int) -> None:
    twins = np.repeat(blobs(9), [200, 1, 1, 1, 1, 1, 100, 1, 1], axis=0)
    made = kmeans(twins, 9, seed=seed)
    assert made.start == "k-means++" and sorted(made.sizes) == [1, 1, 1, 1, 1, 1, 1, 100, 200]
    assert kmeans(twins, 9, seed=seed).centroids.tobytes() == made.centroids.tobytes()
    assert kmeans(blobs(), 7, seed=seed).start == "rows"


def test_normalised_leaves_units_and_zeros_as_they_are() -> None:
    units = normalised(blobs(50))
    assert normalised(units) is units
    zero = np.zeros((1, 12), np.float32)
    assert not normalised(zero).any()
    assert kmeans(np.vstack([units, zero]), 3, seed=0, metric="cosine").distances[-1] == 1


def at(*angles: float) -> np.ndarray:
    return np.array([[math.cos(a), math.sin(a)] for a in angles])


class TestSemDeDup:
    """Section 26 of the catalogue, and a slow reference."""

    vectors = at(0, 0.2, 0.4, math.pi / 2)
    order = np.array([4.0, 3.0, 2.0, 1.0])  # `hard` takes the farthest first
    keys = np.arange(4, dtype=np.uint64)

    def test_numbers_of_the_catalogue(self) -> None:
        drop, twin, similarity = semdedup(self.vectors, np.zeros(4, int), self.order, 0.05, "hard", self.keys)
        np.testing.assert_allclose(similarity, [0, 0.9801, 0.9801, 0.3894], atol=5e-5)
        assert drop.tolist() == [False, True, True, False] and twin.tolist() == [-1, 0, 1, 2]
        drop, _, _ = semdedup(self.vectors, np.zeros(4, int), self.order, 0.01, "hard", self.keys)
        assert not drop.any()

    def test_unlike_length_does_not_matter_and_other_clusters_are_not_compared(self) -> None:
        longer = self.vectors * np.array([[1], [5], [0.1], [3]])
        drop, _, _ = semdedup(longer, np.zeros(4, int), self.order, 0.05, "hard", self.keys)
        assert drop.tolist() == [False, True, True, False]
        drop, twin, _ = semdedup(self.vectors, np.array([0, 1, 0, 1]), self.order, 0.05, "hard", self.keys)
        assert not drop.any() and twin.tolist() == [-1, -1, 0, 1]

    def test_easy_keeps_what_is_near_the_centroid(self) -> None:
        drop, twin, _ = semdedup(self.vectors, np.zeros(4, int), np.array([1.0, 3.0, 2.0, 4.0]), 0.05, "easy", self.keys)
        assert drop.tolist() == [False, True, False, False] and twin[1] in (0, 2)
        drop, _, _ = semdedup(self.vectors, np.zeros(4, int), np.array([1.0, 3.0, 2.0, 4.0]), 0.05, "hard", self.keys)
        assert drop.tolist() == [True, False, True, False]

    @pytest.mark.parametrize("keep", ["hard", "easy", "random"])
    def test_a_slow_reference_agrees(self, keep: Literal["hard", "easy", "random"], monkeypatch: pytest.MonkeyPatch) -> None:
        from engine.cluster import semdedup as module
        from engine.randomness import row_keys, uniforms

        monkeypatch.setattr(module, "BLOCK", 7)
        vectors = np.vstack([blobs(150, 6), blobs(150, 6)[:30], np.zeros((1, 6), np.float32)])
        n = len(vectors)
        assignment = np.arange(n) % 4
        keys = row_keys(1, 0, "test", (str(i) for i in range(n)))
        distances = np.round(np.random.default_rng(2).random(n), 1)  # with ties
        drop, twin, similarity = semdedup(vectors, assignment, distances, 0.1, keep, keys)
        rank = {"hard": -distances, "easy": distances, "random": uniforms(keys, 0)}[keep]
        for cluster in range(4):
            rows = sorted(np.flatnonzero(assignment == cluster), key=lambda i: (rank[i], i))
            for place, row in enumerate(rows):
                cosines = [_cosine(vectors[row], vectors[other]) for other in rows[:place]]
                best = max([0.0, *cosines])
                assert similarity[row] == pytest.approx(best, abs=1e-9)
                assert drop[row] == (best > 0.9)
                assert twin[row] == (rows[int(np.argmax(np.round(cosines, 9)))] if best > 0 else -1)
        assert drop.sum() > 20


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = np.linalg.norm(one.astype(float)) * np.linalg.norm(other.astype(float))
    return float(one.astype(float) @ other.astype(float) / lengths) if lengths else 0.0
