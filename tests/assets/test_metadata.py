"""What the UI shows of the steps that choose: clusters, plans, picks, dropped prompts, calibration, follow-ups."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dagster import MetadataValue

from assets import highlights, metadata
from engine.ledger import Entry
from small_lake import SmallLake, spec

AT = datetime(2026, 1, 1, tzinfo=UTC)


def entry(step: str, table: str, part: str, **detail: object) -> Entry:
    hashes = {f"{table}/{part}": "0"}
    return Entry("small", 0, step, table, (part,), "f", {}, "c", "a", 3, 2, "done", 0.1, hashes=hashes, detail=detail, at=AT)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    lake = SmallLake(tmp_path_factory.mktemp("lake"))
    lake.prompts(["p1", "p2", "p3"], "train", 0, {"p1": "odd", "p2": "odd"})
    lake.answers([("p1", "yes", 1.0), ("p2", "no", 0.0), ("p3", "no", None)])
    lake.answers([("p1", "a", 1.0), ("p1", "b", 0.0)], part="calibrate", temperature=0.7)
    lake.answers([("p1", "better", 1.0)], part="followup/refine")
    lake.put(
        "cluster_stats", "prompt", [{"cluster_id": c, "size": s, "weight": s / 3, "label": w} for c, s, w in ((0, 1, "a|b"), (1, 2, "sum"))]
    )
    lake.put("clusters", "prompt", [{"item_id": p, "cluster_id": 1, "distance": 0.0} for p in ("p1", "p2", "p3")])
    lake.put("embeddings", "prompt", [{"item_id": p, "model": "ngrams@1", "vector": [0.0, 1.0]} for p in ("p1", "p2")])
    lake.put("plan", "mix", [{"key": "weight", "item_id": t, "value": "0.5", "reason": "even"} for t in ("b", "a")])
    dropped = [
        {"prompt_id": f"d{i}", "rule": r, "suite": s, "reason": r}
        for i, (r, s) in enumerate((("near", None), ("near", None), ("decontaminate", "test")))
    ]
    lake.put("prompts_dropped", "train", dropped)
    mig = {"item_kind": "generation", "prompt_id": "p1", "scorer": "mig", "scorer_version": "1"}
    lake.put("scores", "rollout/mig", [mig | {"item_id": f"p{i}-0", "value": v} for i, v in ((1, 2.0), (2, None), (3, 1.0))])
    lake.put(
        "scores", "rollout/len", [mig | {"scorer": "len", "item_id": f"p{i}-0", "value": v} for i, v in ((1, 2.0), (2, None), (3, 1.0))]
    )
    lake.put("scores", "rollout/len_last", [mig | {"scorer": "len_last", "item_id": "p1-0", "value": 9.0}])
    talk = [{"role": "assistant", "content": "yes", "origin": "policy", "weight": 1.0}]
    lake.put("selected", "policy", [{"row_id": "r", "prompt_id": "p1", "messages": talk, "weight": 2.0, "origin": "generation"}])
    return lake


def shown(small: SmallLake, one: Entry) -> tuple[str, list[dict[str, object]]] | None:
    return highlights.of(one, metadata._own_part(one), small.session(0))


def test_each_kind_of_step_has_its_own_table(small: SmallLake) -> None:
    title, rows = shown(small, entry("clusters_prompt", "clusters", "prompt"))
    assert title == "cluster table" and [(r["cluster_id"], r["size"], r["label"]) for r in rows] == [(1, 2, "sum"), (0, 1, "a|b")]
    assert shown(small, entry("embeddings_prompt", "embeddings", "prompt")) == (
        "vectors",
        [{"model": "ngrams@1", "vectors": 2, "dimensions": 2}],
    )
    assert [r["item_id"] for r in shown(small, entry("plan_mix", "plan", "mix"))[1]] == ["a", "b"]
    title, rows = shown(small, entry("pick_mig", "scores", "rollout/mig"))
    assert (title, [r["item_id"] for r in rows]) == ("first picked", ["p3-0", "p1-0"])
    assert shown(small, entry("hygiene", "prompts_dropped", "train")) == (
        "dropped by rule",
        [
            {"rule": "near", "suite": None, "prompts": 2, "example": "near"},
            {"rule": "decontaminate", "suite": "test", "prompts": 1, "example": "decontaminate"},
        ],
    )
    for step, table, part in (("calibrate_generations", "generations", "calibrate"), ("calibrate_score", "scores", "calibrate/score")):
        assert shown(small, entry(step, table, part)) == (
            "answers by temperature",
            [{"temperature": 0.7, "answers": 2, "right_share": 0.5}],
        )
    title, rows = shown(small, entry("refine_generations", "generations", "followup/refine"))
    assert title == "answers by end" and (rows[0]["answers"], rows[0]["prompts"]) == (1, 1)
    assert [(r["topic"], r["prompts"]) for r in shown(small, entry("prompts", "prompts", "train"))[1]] == [("odd", 2), (None, 1)]
    assert [(r["scorer"], r["numbers"], r["mean"]) for r in shown(small, entry("scores_len", "scores", "rollout/len"))[1]] == [
        ("len", 2, 1.5),
        ("len_last", 1, 9.0),
    ]
    assert [(r["verdict"], r["answers"]) for r in shown(small, entry("score", "scores", "rollout/score"))[1]] == [
        ("none", 1),
        ("right", 1),
        ("wrong", 1),
    ]
    assert shown(small, entry("selected", "selected", "policy"))[1][0]["weight"] == 2.0
    assert shown(small, entry("checkpoint", "checkpoints", "policy")) is None


def test_a_checkpoint_shows_its_training(tmp_path: Path) -> None:
    small = SmallLake(tmp_path)
    for round_ in (0, 1):
        log = [{"digest": "d", "step": s, "metric": m, "value": s / 4} for s in (1, 2) for m in ("grad_norm", "loss", "rewards/margins")]
        small.put("training_log", "policy", log, round_)
        small.put("checkpoints", "policy", [{"digest": "d", "role": "policy", "attempt": "a", "at": AT, "steps": 2}], round_)
    one = entry("checkpoint", "checkpoints", "policy")
    title, rows = shown(small, one)
    assert title == "training log" and [(r["metric"], r["first"], r["last"], r["entries"]) for r in rows] == [
        ("loss", 0.25, 0.5, 2),
        ("grad_norm", 0.25, 0.5, 2),
        ("rewards/margins", 0.25, 0.5, 2),
    ]
    picture = metadata.plot(one, spec(), small.session(0))
    kind, _, data = picture.value.removeprefix("![plot](").removesuffix(")").partition(",")
    assert kind == "data:image/png;base64" and b64decode(data, validate=True).startswith(b"\x89PNG")
    empty = SmallLake(tmp_path / "empty")
    assert metadata.plot(one, spec(), empty.session(0)) is None and shown(empty, one) is None


def test_cells_do_not_break_the_table(small: SmallLake) -> None:
    text = metadata.markdown(shown(small, entry("clusters_prompt", "clusters", "prompt"))[1]).value
    assert text.splitlines()[0] == "| cluster_id | size | weight | label |" and "a\\|b" in text


def test_nested_detail_is_shown_as_json() -> None:
    assert metadata._shown({"near": 2, "odd": float("nan")}) == MetadataValue.json({"near": 2, "odd": None})
    assert metadata._shown([1, 2]) == MetadataValue.json({"values": [1, 2]}) and metadata._shown("x") == "x"
