"""SQL: does the answer's query give what the gold query gives? Both run in the sandbox, over a small database made from the row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from engine.score import ERROR, RIGHT, TIMEOUT, UNPARSEABLE, WRONG, Answer, Params, Verdict, Verifier, verifiers
from engine.score.code.blocks import SQL, Which, code_of
from engine.score.code.running import Runner, Running, limits
from engine.score.code.sql_text import is_ordered, is_query
from engine.score.sandbox import Outcome, Program

RUNNER = Path(__file__).parent / "code" / "sql_runner.py"
SAID = (RIGHT, WRONG, UNPARSEABLE, TIMEOUT, ERROR)
REST = 5.0  # CPU seconds beside the two queries: Python starts, the database is made, results are compared


class Keys(Params):
    """Keys of the prompts' meta: columns of the data files that the prompt is not made of, or that prompts.fields.keep names."""

    tables: str = Field("schema", description="CREATE statements (and INSERTs), as SQLite reads them")
    rows: str = Field("rows", description="INSERT statements, or {table: [[value, ...] or {column: value}]}; may be absent")


class SqlQueryParams(Running):
    sandbox: Literal["jail", "none"] = Field("jail", description="none: no jail at all, for queries that you trust")
    order: Literal["auto", "always", "never"] = Field("auto", description="rows in order; auto: where the gold query has an outer ORDER BY")
    columns: bool = Field(False, description="compare the names of columns too")
    as_set: bool = Field(False, description="equal rows count once, as BIRD compares; else as often as they stand there")
    tolerance: float = Field(1e-6, ge=0, description="how far apart numbers may be, absolutely or relatively; whole numbers: 0")
    extract: Which = Field(
        "auto", description="the query of an answer: its last ```sql block (of any fence where there is none), or the text"
    )
    keys: Keys = Field(Keys(), description="where a prompt's meta holds its database")


@verifiers.register("sql_query")
class SqlQuery(Verifier):
    """right 1.0; wrong, unparseable (no SQL), timeout and error (the row's database or gold query does not work) 0.0.

    The reference is the gold query, or its rows as JSON (a list of lists). Results agree when they hold the same rows as often,
    in the same order where order means something. The answer has to be one SELECT (or WITH, or VALUES); it can only read.
    """

    batch = 256
    Params = SqlQueryParams

    def __init__(self, params: SqlQueryParams) -> None:
        super().__init__(params)
        allowed = limits(params.model_copy(update={"seconds": 2 * params.seconds + REST}))
        self._runner = Runner(params.sandbox, params.workers, allowed)

    def fields(self) -> tuple[str, ...]:
        return (self.params.keys.tables, self.params.keys.rows)

    def verify(self, answer: Answer) -> Verdict:
        return self.verify_all([answer])[0][0]

    def verify_all(self, answers: Sequence[Answer]) -> tuple[list[Verdict], list[float]]:
        """All queries go through the sandbox side by side; seconds are CPU seconds, with those of the gold query."""
        tasks = [self._task(answer) for answer in answers]
        code = RUNNER.read_text(encoding="utf-8")
        outcomes = iter(self._runner.run([Program(code, stdin=json.dumps(task)) for task in tasks if isinstance(task, dict)]))
        verdicts, seconds = [], []
        for task in tasks:
            if isinstance(task, Verdict):
                verdicts.append(task)
                seconds.append(0.0)
            else:
                outcome = next(outcomes)
                verdicts.append(_read(outcome))
                seconds.append(outcome.seconds)
        return verdicts, seconds

    def check(self) -> None:
        self._runner.check()

    def close(self) -> None:
        self._runner.close()

    def _task(self, answer: Answer) -> dict[str, Any] | Verdict:
        """What the program in the sandbox reads (see sql_runner.judge), or the verdict where nothing has to run."""
        params, keys, reference = self.params, self.params.keys, (answer.reference or "").strip()
        if not reference:
            return Verdict(0.0, ERROR, "there is no reference: neither a gold query nor its rows")
        schema, rows = answer.meta.get(keys.tables), _rows(answer.meta.get(keys.rows))
        if not isinstance(schema, str) or not schema.strip():
            return Verdict(0.0, ERROR, f"the prompt's meta has no text under {keys.tables!r}; name the column in prompts.fields.keep")
        if isinstance(rows, Verdict):
            return rows
        gold_rows = _gold_rows(reference)
        if gold_rows is None and not is_query(reference):
            return Verdict(0.0, ERROR, f"the reference is neither a query nor a JSON list of rows: {reference[:60]!r}")
        code = code_of(answer.response, SQL, params.extract, is_query).strip()
        if not code:
            return Verdict(0.0, UNPARSEABLE, "no query found")
        ordered = params.order == "always" or (params.order == "auto" and gold_rows is None and is_ordered(reference))
        return {
            "schema": schema,
            "rows": rows,
            "gold": reference,
            "gold_rows": gold_rows,
            "answer": code,
            "ordered": ordered,
            **params.model_dump(include={"columns", "as_set", "tolerance", "seconds"}),
        }


def _rows(value: Any) -> str | dict[str, Any] | Verdict:
    """The rows of the database as SQL or by table, or the verdict on a value that is neither."""
    if value is None:
        return ""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError as error:
            return Verdict(0.0, ERROR, f"the rows of the database are no JSON ({error})")
    if isinstance(value, str) or (isinstance(value, dict) and all(isinstance(rows, list) for rows in value.values())):
        return value
    return Verdict(0.0, ERROR, f"the rows of the database: expected text or {{table: rows}}, found {value!r:.60}")


def _gold_rows(reference: str) -> list[list[Any]] | None:
    if not reference.startswith("["):
        return None
    try:
        rows = json.loads(reference)
    except ValueError:
        return None
    return rows if isinstance(rows, list) and all(isinstance(row, list) for row in rows) else None


def _read(outcome: Outcome) -> Verdict:
    """What the trusted program said; the answer's query cannot write where this comes from."""
    if outcome.status == "timeout":
        return Verdict(0.0, TIMEOUT, outcome.detail, outcome.runner)
    if outcome.status != "passed":
        return Verdict(0.0, ERROR, f"the query's process ended without a result: {outcome.detail}", outcome.runner)
    said = json.loads(outcome.stdout)
    return Verdict(1.0 if said["verdict"] == RIGHT else 0.0, said["verdict"], said["detail"], outcome.runner)
