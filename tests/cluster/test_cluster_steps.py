"""The steps end to end on the tiny experiment: prompts, rollouts and the pool, over two rounds."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loop_home
from engine.check import check
from engine.cluster.embedders import Embedder, embedders
from engine.cluster.embedders.hashed_ngrams import HashedNgrams
from engine.cluster.kmeans import normalised
from engine.errors import SpecError, StepError
from engine.experiment import Experiment
from engine.specfile import load as load_spec

ENTRIES = """\
cluster:
  - {name: prompt, k: 3}
  - {name: answers, of: generations, rule: silhouette, candidates: [2, 3, 500], metric: cosine}
  - {name: fixed, k: 3, fit: first, metric: cosine}
  - {name: own, embedder: hidden_state, rule: sqrt}
  - {name: only-vectors}
  - {name: pool, of: pool, k: 4}
"""
TINY = ("rounds=2", "train.0.max_steps=2", "base.train.max_steps=2")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    folder = tmp_path_factory.mktemp("clusters")
    loop_home.write(folder, loop_home.YAML + ENTRIES)
    experiment = loop_home.load(folder, *TINY)
    experiment.run()
    return experiment


def rows(experiment: Experiment, query: str, round_: int | None = None, **given: Any) -> list[dict[str, Any]]:
    return experiment.session(round_).table(query, given).to_pylist()


def detail(experiment: Experiment, round_: int, step: str) -> dict[str, Any]:
    return experiment.state().entries[round_, step].detail


def test_every_item_has_a_vector_and_a_cluster(done: Experiment) -> None:
    counts = {(r["part"], r["round"]): r["n"] for r in rows(done, "select part, round, count(*) n from lake.embeddings group by all")}
    assert counts == {
        (part, r): 96 if part == "answers" else 24 for part in ("prompt", "answers", "fixed", "own", "only-vectors") for r in (0, 1)
    }
    counts = {(r["part"], r["round"]): r["n"] for r in rows(done, "select part, round, count(*) n from lake.clusters group by all")}
    assert counts == {(p, r): n for p, n in {"prompt": 24, "answers": 96, "fixed": 24, "own": 24, "pool": 90}.items() for r in (0, 1)}
    joined = "select cluster_id, count(*) n from clusters join prompts on item_id = prompt_id where part = 'prompt' group by 1 order by 1"
    sizes = rows(done, "select cluster_id, size n from cluster_stats where part = 'prompt' order by 1", 1)
    assert rows(done, joined.replace("part =", "clusters.part ="), 1) == sizes and sum(row["n"] for row in sizes) == 24


def test_stats_say_what_the_clusters_are(done: Experiment) -> None:
    first_ids = rows(done, "select part, cluster_id from lake.cluster_stats where round = 0")
    for part in ("prompt", "answers", "fixed", "own", "pool"):
        for round_ in (0, 1):
            stats = rows(
                done, "select * from lake.cluster_stats where part = $part and round = $at order by cluster_id", part=part, at=round_
            )
            members = rows(done, "select * from lake.clusters where part = $part and round = $at", part=part, at=round_)
            sizes = Counter(row["cluster_id"] for row in members)
            assert {row["cluster_id"]: row["size"] for row in stats if row["size"]} == sizes
            assert sum(row["weight"] for row in stats) == pytest.approx(1)
            for row in stats:
                own = [member["distance"] for member in members if member["cluster_id"] == row["cluster_id"]]
                assert row["distance"] == (pytest.approx(np.mean(own)) if own else None)
                assert (row["label"] is None) == (not own) and len(row["centroid"]) == (16 if part == "own" else 384)
                assert (row["mean_score"] is None) == (part != "answers")
                known = {row["cluster_id"] for row in first_ids if row["part"] == part}
                if part in ("prompt", "answers", "own"):
                    assert (row["shift"] is None) == (round_ == 0 or row["cluster_id"] not in known)
    answers = rows(
        done,
        "select c.*, s.value from lake.clusters c join lake.scores s using (experiment, round, item_id) "
        "where c.part = 'answers' and s.part = 'rollout/score'",
    )
    for row in rows(done, "select * from lake.cluster_stats where part = 'answers'"):
        own = [a["value"] for a in answers if (a["round"], a["cluster_id"]) == (row["round"], row["cluster_id"])]
        assert row["mean_score"] == pytest.approx(np.mean(own))


def test_distances_are_to_the_centroid_that_is_stored(done: Experiment) -> None:
    query = """select e.vector, s.centroid, c.distance from embeddings e join clusters c using (item_id, part)
               join cluster_stats s using (part, cluster_id) where part = $part order by item_id"""
    for row in rows(done, query, 1, part="prompt"):
        assert row["distance"] == pytest.approx(np.linalg.norm(np.subtract(row["vector"], row["centroid"])), abs=1e-6)
    for row in rows(done, query, 1, part="answers"):
        one, other = (normalised(np.array([row[name]], np.float32))[0] for name in ("vector", "centroid"))
        assert row["distance"] == pytest.approx(1 - one @ other, abs=1e-6)


def test_the_ledger_tells_how_k_was_chosen(done: Experiment) -> None:
    found = detail(done, 0, "clusters_answers")
    assert set(found["candidates"]) == {"2", "3"} and found["too_many"] == [500] and found["silhouette_sample"] == 96
    assert found["candidates"][str(found["k"])] == max(found["candidates"].values()) == found["silhouette"]
    assert detail(done, 0, "clusters_own")["k"] == 5 and detail(done, 1, "clusters_prompt")["matched_to_round"] == 0


def test_fit_first_keeps_the_first_round_s_centroids(done: Experiment) -> None:
    query = "select cluster_id, centroid, shift from lake.cluster_stats where part = 'fixed' and round = $at order by cluster_id"
    first, second = rows(done, query, at=0), rows(done, query, at=1)
    assert [r["centroid"] for r in first] == [r["centroid"] for r in second]
    assert {r["shift"] for r in first} == {None} and {r["shift"] for r in second} == {0.0}
    assert detail(done, 1, "clusters_fixed")["centroids_of_round"] == 0
    query = "select vector, cluster_id from embeddings join clusters using (item_id, part) where part = 'fixed'"
    centroids = normalised(np.array([r["centroid"] for r in first], np.float32))
    for row in rows(done, query, 1):
        assert row["cluster_id"] == int(np.argmax(centroids @ np.array(row["vector"])))


def test_an_unchanged_pool_is_clustered_once(done: Experiment) -> None:
    one, two = (done.state().entries[round_, "clusters_pool"] for round_ in (0, 1))
    assert two.reused_from == "loop/0" and one.fingerprint == two.fingerprint and one.reused_from is None
    ids = {row["item_id"] for row in rows(done, "select item_id from lake.clusters where part = 'pool' and round = 1")}
    assert ids >= {row["prompt_id"] for row in rows(done, "select prompt_id from lake.prompts where part = 'train'")}
    assert not rows(done, "select * from lake.embeddings where part = 'pool'")


def test_the_same_spec_gives_the_same_bits_and_other_settings_run_again(done: Experiment, tmp_path: Path) -> None:
    loop_home.write(tmp_path, loop_home.YAML + ENTRIES)
    again = loop_home.load(tmp_path, *TINY, "compute.threads=2")
    before = loop_home.contents(done.lake, "loop")
    again.run(until=0)
    made = loop_home.contents(again.lake, "loop")
    for key in made:
        if key.startswith(("embeddings/0", "clusters/0", "cluster_stats/0")) and not key.endswith(("answers", "own")):
            assert made[key] == before[key], key
    attempts = loop_home.attempts(again.lake, "loop")
    changed = loop_home.load(tmp_path, *TINY, "compute.threads=2", "cluster.0.k=2")
    changed.run(first=0, until=0)
    after = loop_home.attempts(changed.lake, "loop")
    assert {step for step in after if attempts.get(step) != after[step]} >= {(0, "clusters_prompt")}
    assert not {(0, "embeddings_prompt"), (0, "clusters_answers"), (0, "generations")} & {s for s in after if attempts.get(s) != after[s]}


def test_a_killed_step_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop_home.write(tmp_path, loop_home.YAML + "cluster: [{name: prompt, k: 3}]\n")
    seen: list[str] = []
    whole, die = HashedNgrams.embed, [2]

    def embed(self: Embedder, texts: list[str]) -> np.ndarray:
        die[0] -= 1
        if die[0] == 0:
            raise KeyboardInterrupt
        seen.extend(texts)
        return whole(self, texts)

    monkeypatch.setattr(embedders.load("hashed_ngrams"), "batch", 7)
    monkeypatch.setattr(HashedNgrams, "embed", embed)
    with pytest.raises(KeyboardInterrupt):
        loop_home.load(tmp_path, *TINY).run(until=0)
    assert len(seen) == 7
    experiment = loop_home.load(tmp_path, *TINY)
    experiment.run(until=0)
    assert len(seen) == 24 == len(set(seen)) == len(rows(experiment, "select * from lake.embeddings"))
    assert detail(experiment, 0, "embeddings_prompt")["embedded_once"] == 24


def test_fit_first_refuses_vectors_of_another_kind(tmp_path: Path) -> None:
    loop_home.write(tmp_path, loop_home.YAML + "cluster: [{name: prompt, k: 3, fit: first}]\n")
    loop_home.load(tmp_path, *TINY).run(until=0)
    with pytest.raises(StepError, match="centroids of round 0 are of hashed_ngrams-384") as error:
        loop_home.load(tmp_path, *TINY, "cluster.0.params={dimensions: 100}").run(until=1)
    assert "another name" in error.value.hint


@pytest.mark.parametrize(
    ("entry", "field", "text"),
    [
        ("{embedder: hashed_ngram, k: 2}", "cluster.0.embedder", "did you mean 'hashed_ngrams'"),
        ("{params: {dimension: 3}, k: 2}", "cluster.0.params.dimension", "no such setting"),
        ("{rule: silhouette}", "cluster.0.candidates", "compares none"),
        ("{rule: silhouette, candidates: [1, 4]}", "cluster.0.candidates", "at least 2"),
        ("{k: 3, candidates: [2, 4]}", "cluster.0.candidates", "rule fixed compares none"),
        ("{rule: sqrt, k: 3}", "cluster.0.k", "chooses k itself"),
        ("{of: pool}", "cluster.0.of", "not stored"),
        ("{k: 9, train_rows: 5}", "cluster.0.train_rows", "cannot be made of 5"),
        ("{embedder: model2vec, params: {path: nowhere}}", "cluster.0.params.path", "no folder 'nowhere'"),
    ],
)
def test_bad_settings_are_found_before_anything_runs(entry: str, field: str, text: str, tmp_path: Path) -> None:
    if "model2vec" in entry:
        pytest.importorskip("model2vec", reason="the extra `embed` is not installed")
    path = loop_home.write(tmp_path, loop_home.YAML + f"cluster: [{entry}]\n")
    with pytest.raises(SpecError) as error:
        check(load_spec(path), path)
    assert text in str(error.value) and "loop.yaml" in error.value.where and field in str(error.value)
