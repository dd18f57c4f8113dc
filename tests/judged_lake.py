"""A small lake in which judges, verifiers and people have scored the same answers, for queries that judge the judges."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine import ids
from small_lake import SmallLake

START = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = {"a": "aaaa", "b": "bb", "c": "cccccc", "d": "dd", "e": "eee", "f": "fff", "g": "g" * 8, "h": "hh"}
PROMPTS = dict(zip("abcdefgh", ("p1", "p1", "p2", "p2", "p3", "p3", "p1", "p1"), strict=True))


def answer(name: str, model: str = "m1", text: str | None = None) -> dict[str, Any]:
    """A row of generations."""
    text = TEXTS[name] if text is None else text
    own = {"generation_id": name, "content_id": ids.content_id(text), "prompt_id": PROMPTS.get(name, "p1"), "response": text}
    return own | {"sample": ord(name[0]), "actor": "policy", "model": model, "finish_reason": "stop"}


def score(name: str, scorer: str, value: float | None, verdict: str | None = None, **more: Any) -> dict[str, Any]:
    """A row of scores."""
    own = {"item_id": name, "item_kind": "generation", "prompt_id": PROMPTS.get(name, "p1"), "scorer": scorer, "scorer_version": "v"}
    return own | {"value": value, "verdict": verdict} | more


def label(name: str, verdict: str, weight: float, text: str | None = None, audit: str = "audit1") -> dict[str, Any]:
    """A row of scores as `rondo audit --read` writes it."""
    detail = json.dumps({"weight": weight, "rule": "doubtful", "stratum": "near"})
    content = ids.content_id(TEXTS[name] if text is None else text)
    return score(name, "human", float(verdict == "right"), verdict, detail=detail, cache_key=content, scorer_version=audit)


def judged(folder: Path) -> SmallLake:
    """Round 0: a, c (by m0) and b, d, e, f (by m1); the verifier `exact`, the judge `judge`, the pairwise judge `duel`; round 1: g, h."""
    lake = SmallLake(folder)
    lake.prompts(["p1", "p2", "p3"], "train", 0)
    lake.put("generations", "rollout", [answer(n, "m0" if n in "ac" else "m1") for n in "abcdef"], 0)
    lake.put("generations", "rollout", [answer(n) for n in "gh"], 1)
    rights = [score(n, "exact", float(n in "ad"), "right" if n in "ad" else "wrong") for n in "abcd"]
    lake.put("scores", "rollout/exact", rights, 0)
    later = [score("g", "exact", 1.0, "right", runner="monty"), score("h", "exact", 0.0, "timeout", runner="jail")]
    lake.put("scores", "rollout/exact", later, 1)
    paid = {"seconds": 0.5, "prompt_tokens": 10, "response_tokens": 2}
    ratings = [score("a", "judge", 0.8, **paid), score("b", "judge", 0.2, seconds=0.0)]
    ratings += [score("c", "judge", 1.0, **paid), score("d", "judge", None, "unparseable", **paid)]
    lake.put("scores", "rollout/judge", ratings, 0)
    asked = {"judge": "duel", "judge_version": "v", "seconds": 0.25, "prompt_tokens": 20, "response_tokens": 1}
    duels = [("p1", "a", "b", 0.9, 0.7), ("p2", "c", "d", 0.6, 0.4), ("p3", "e", "f", 0.5, None)]
    rows = []
    for prompt, left, right, *probabilities in duels:
        pair = {"prompt_id": prompt, "left_id": left, "right_id": right} | asked
        rows += [pair | {"order": o, "probability": p} for o, p in zip(("forward", "swapped"), probabilities, strict=True)]
        rows.append(pair | {"order": "both", "probability": 0.5, "seconds": None, "prompt_tokens": None, "response_tokens": None})
    lake.put("preferences", "rollout/duel", rows, 0)
    lake.put("scores", "rollout/human", [label("b", "right", 1.0), label("c", "wrong", 1.0)], 0)
    for step, table, part in (("scores_judge", "scores", "rollout/judge"), ("compare_duel", "preferences", "rollout/duel")):
        row = {"step": step, "table": table, "parts": [part], "state": "done", "at": START, "detail": json.dumps({"models": ["m0"]})}
        lake.put("steps", step, [row], 0)
    return lake
