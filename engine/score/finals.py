"""The final answers of texts, for rules that ask whether answers agree: no reference is needed.

The first entry of `score` says how, where it is a verifier that compares final answers (math, exact, choice): its own extraction,
so that two answers agree where it would tell them apart by nothing. Else it is the macro final_answer of sql/macros, which also
counts votes in SQL; a text that marks no answer is then its own.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from engine import macros
from engine.errors import StepError
from engine.score import Answer, Verifier, make, version
from engine.score.verify import answers_of
from engine.spec import Scorer, Spec

MACRO = "final_answer"


def extractor(spec: Spec) -> tuple[Scorer, Verifier] | None:
    """The first entry of `score` where it compares final answers; None where the macro says what they are."""
    first = spec.score[0] if spec.score else None
    if first is None or not first.verifier:
        return None
    verifier = make(first)
    return (first, verifier) if verifier.extracts else None


def settings(spec: Spec) -> dict[str, Any]:
    """JSON for the fingerprint of a step whose rows depend on final answers."""
    found = extractor(spec)
    return {"version": version(*found)} if found else {MACRO: macros.body(MACRO)}


class Finals:
    """Final answers of batch after batch of answers to the same prompts (rows with prompt_id, messages, reference and meta)."""

    def __init__(self, spec: Spec, prompts: pa.Table, label: str) -> None:
        found = extractor(spec)
        self._verifier, self._prompts, self._label = found[1] if found else None, prompts, label

    def __call__(self, rows: pa.Table) -> list[str | None]:
        """The final answer of each row (rows of generations), in order; None where there is none. StepError where one is lost."""
        if self._verifier is None:
            return by_macro(rows["response"].to_pylist())
        answers = answers_of(rows, [self._prompts], self._verifier, self._label)
        seen: dict[str, str | None] = {}
        for key, response, reference, prompt, meta in answers.select("key", "response", "reference", "prompt", "meta").iter_rows():
            if key not in seen:
                seen[key] = self._verifier.final(Answer(response, reference, prompt, json.loads(meta) if meta else {}))
        if answers.height != rows.num_rows:
            raise StepError(f"{self._label}: {rows.num_rows} answers in, {answers.height} final answers out")
        return [seen[key] for key in answers["key"]]

    def close(self) -> None:
        """Frees what the verifier holds."""
        if self._verifier is not None:
            self._verifier.close()


def by_macro(texts: list[str]) -> list[str | None]:
    """What the macro gives for each text, in order; None for an empty one."""
    import duckdb

    with duckdb.connect(config={"enable_external_access": "false", "threads": "1"}) as connection:
        macros.make(connection, [f"{MACRO}()"], set())
        connection.register("texts", pa.table({"place": range(len(texts)), "text": pa.array(texts, pa.string())}))
        found = connection.sql(f"select nullif({MACRO}(text), '') as final from texts order by place").to_arrow_table()
    finals = found["final"].to_pylist()
    if len(finals) != len(texts):
        raise StepError(f"{len(texts)} texts in, {len(finals)} final answers out")
    return finals
