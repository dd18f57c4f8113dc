"""A small lake of prompts with scored answers, for selections that choose a prompt's target."""

from __future__ import annotations

from engine import sqlfile
from engine.select.steps import SelectedStep
from small_lake import SmallLake, spec


def select(small, sql, round_=0, **params):
    one = spec(select={"sql": f"select/{sql}.sql", "params": params})
    output = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, round_))
    return {(row["prompt_id"], row["label"] or row["rank"]): row for row in output.rows["selected", "policy"].to_pylist()}


def ask(small, sql, round_=0, **params):
    """Rows of a follow-up's SQL."""
    file = sqlfile.read(sqlfile.find(f"followup/{sql}.sql"))
    return small.session(round_).table(file.query(), file.bind(params)).to_pylist()


def said(row):
    return [(m["role"], m["content"], m["weight"]) for m in row["messages"]]


def lake(tmp_path, scores, round_=0, **columns):
    """Prompts p1, p2, ... with `scores` of their answers a0, a1, ...; references 'gold p1', ..."""
    small = SmallLake(tmp_path)
    names = [f"p{i}" for i in range(1, len(scores) + 1)]
    rows = [
        {"prompt_id": n, "split": "train", "messages": [{"role": "user", "content": f"ask {n}"}], "reference": f"gold {n}"} for n in names
    ]
    small.put("prompts", "train", [row | {key: make(row["prompt_id"]) for key, make in columns.items()} for row in rows], round_)
    small.answers([(n, f"a{k} of {n}", s) for n, own in zip(names, scores, strict=True) for k, s in enumerate(own)], round_=round_)
    return small


def follow(small, name, rows):
    """Second generations (prompt, parent, response, score) of an entry, with ids like p1-<name>-0."""
    common = {"content_id": "c", "actor": "policy", "finish_reason": "stop", "depth": 1}
    made = [
        common | {"generation_id": f"{p}-{name}-{i}", "prompt_id": p, "parent_id": parent, "sample": i, "response": text}
        for i, (p, parent, text, _) in enumerate(rows)
    ]
    small.put("generations", f"followup/{name}", made)
    scores = [
        {"item_id": g["generation_id"], "prompt_id": g["prompt_id"], "scorer": "score", "value": r[3]}
        for g, r in zip(made, rows, strict=True)
    ]
    small.put("scores", f"followup/{name}/score", scores)
