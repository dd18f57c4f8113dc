"""The Arrow schema of every table, once: columns, types, units, keys. Every write is cast and checked against it.

Each table also has the partition columns `experiment`, `round` (-1 is the base) and `part`; one step owns one part.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from engine.errors import SchemaError

S, F, N, B = pa.string(), pa.float64(), pa.int64(), pa.bool_()
AT = pa.timestamp("us", tz="UTC")
CHAT = pa.list_(pa.struct([("role", S), ("content", S)]))
MESSAGES = pa.list_(pa.struct([("role", S), ("content", S), ("origin", S), ("weight", F)]))
PARTITION = pa.schema([("experiment", S), ("round", pa.int32()), ("part", S)])


@dataclass(frozen=True)
class Table:
    """A table's declaration. `measured` columns (clocks, places, versions) stay out of content hashes."""

    name: str
    doc: str
    columns: pa.Schema
    key: tuple[str, ...]
    measured: frozenset[str] = frozenset()
    append: bool = False
    nullable: frozenset[str] = frozenset()

    @property
    def schema(self) -> pa.Schema:
        """Partition columns, then the table's own."""
        return pa.schema([*PARTITION, *self.columns])


def _table(
    name: str, doc: str, columns: dict[str, pa.DataType | tuple[pa.DataType, str]], key: str, measured: str = "", append: bool = False
) -> Table:
    nullable, fields = set(), []
    for column, kind in columns.items():
        kind, note = kind if isinstance(kind, tuple) else (kind, "")
        optional = column.endswith("?")
        column = column.rstrip("?")
        if optional:
            nullable.add(column)
        fields.append(pa.field(column, kind, metadata={"doc": note} if note else None))
    return Table(name, doc, pa.schema(fields), tuple(key.split()), frozenset(measured.split()), append, frozenset(nullable))


# fmt: off
_ALL = [
    _table(
        "prompts",
        "a prompt of the round",
        {
            "prompt_id": S, "split": (S, "train, gate or test"), "messages": CHAT, "reference?": S, "task?": S,
            "topic?": S, "parent_id?": S, "difficulty?": F, "source?": (S, "file and line"), "meta?": (S, "JSON"),
        },
        "prompt_id",
        measured="source",
    ),
    _table(
        "plan",
        "a setting this round runs with",
        {"key": S, "item_id?": (S, "prompt or cluster"), "value": (S, "JSON"), "reason?": S},
        "key item_id",
    ),
    _table(
        "generations",
        "an answer, a turn or a tree node",
        {
            "generation_id": S, "content_id": S, "prompt_id": S, "sample": N, "turn": N, "parent_id?": S, "depth": N,
            "is_terminal": B, "actor": S, "model": (S, "checkpoint digest"), "messages?": (CHAT, "what the model saw, if not the prompt"),
            "response": S, "finish_reason": (S, "stop, length or error"), "prompt_tokens?": N, "response_tokens?": N,
            "logprob?": (F, "nats, summed over the response"), "temperature?": F, "top_p?": F, "seed?": N,
            "seconds?": (F, "seconds of wall time, a share of its batch"), "meta?": (S, "JSON"),
            "tokens?": (pa.list_(N), "token ids of the response as drawn, kept where generate.keep_tokens says so"),
            "token_logprobs?": (pa.list_(F), "nats of each of `tokens`, kept with them"),
        },
        "generation_id",
        measured="seconds tokens token_logprobs",
    ),
    _table(
        "scores",
        "one scorer's number for one item",
        {
            "item_id": S, "item_kind": (S, "generation, prompt, row, pair or segment"), "segment?": N, "prompt_id": S,
            "scorer": S, "scorer_version": S, "value?": F, "verdict?": (S, "right, wrong, unparseable, timeout or error"),
            "detail?": S, "seconds?": (F, "seconds of work for this row; 0 where the score is taken from an earlier step"),
            "cache_key?": (S, "what the scorer saw: equal keys of one scorer_version have one score"),
            "runner?": (S, "what ran the answer's code: monty, jail or none"),
            "prompt_tokens?": (N, "that a judge read for this row"), "response_tokens?": (N, "that a judge wrote for this row"),
        },
        "item_id segment scorer",
        measured="seconds cache_key runner prompt_tokens response_tokens",
    ),
    _table(
        "preferences",
        "one judged comparison",
        {
            "prompt_id": S, "left_id": S, "right_id": S, "judge": S, "judge_version": S,
            "order": (S, "forward: left was shown first; swapped: right was; both: the two together"),
            "votes?": (N, "votes that could be read"), "probability?": (F, "that left is better"),
            "uncertainty?": (F, "nats: the information gain over several passes"), "value?": (F, "a number that is no probability (CHES)"),
            "verdict?": (S, "unparseable, timeout or error where there is no probability"), "detail?": S,
            "seconds?": (F, "seconds of work for this row; 0 where it is taken from an earlier step"),
            "cache_key?": (S, "what the judge saw"), "prompt_tokens?": (N, "that the judge read for this row"),
            "response_tokens?": (N, "that it wrote for this row"),
        },
        "prompt_id left_id right_id judge order",
        measured="seconds cache_key prompt_tokens response_tokens",
    ),
    _table(
        "prompts_dropped",
        "a prompt of the train files that no round may draw",
        {
            "prompt_id": S, "rule": (S, "near, semantic, decontaminate, length, language or cap"),
            "twin_id?": (S, "the prompt that stays in its place, or the evaluation item"), "suite?": (S, "evaluation set"),
            "value?": (F, "similarity, overlap share, words, or prompts of its source"), "reason": S, "source?": (S, "file and line"),
        },
        "prompt_id",
        measured="source",
    ),
    _table("embeddings", "a vector of an item", {"item_id": S, "model": S, "vector": pa.list_(pa.float32())}, "item_id model"),
    _table("clusters", "an item's cluster", {"item_id": S, "cluster_id": N, "distance": F}, "item_id"),
    _table(
        "cluster_stats",
        "a cluster",
        {
            "cluster_id": N, "size": N, "weight": (F, "share of the items"), "mean_score?": F, "label?": (S, "its most telling words"),
            "silhouette?": (F, "mean over a sample of its items"), "distance?": (F, "mean distance of its items to the centroid"),
            "shift?": (F, "distance of the centroid from its place in the previous round"), "centroid?": pa.list_(pa.float32()),
            "model?": (S, "whose vectors the centroid is made of, as in embeddings"),
        },
        "cluster_id",
    ),
    _table(
        "selected",
        "a demonstration that trains",
        {
            "row_id": S, "prompt_id": S, "generation_id?": S, "messages": (MESSAGES, "weight 0 is context only"),
            "weight": F, "label?": S, "cluster_id?": N, "rank?": N, "order?": F,
            "origin": (S, "generation, gold, replay or refined"), "source_round": pa.int32(), "reason?": S,
            "extra?": (pa.map_(S, F), "further numbers by name, for objectives that need them"),
        },
        "row_id",
    ),
    _table(
        "pairs",
        "a preference that trains",
        {
            "row_id": S, "prompt_id": S, "messages": (MESSAGES, "shared prefix"), "chosen": MESSAGES, "rejected": MESSAGES,
            "third?": MESSAGES, "chosen_id?": S, "rejected_id?": S, "third_id?": S, "margin?": (F, "score of chosen less that of rejected"),
            "probability?": (F, "soft label: that chosen is the better one"),
            "ref_chosen_logps?": (F, "nats, summed over the answer, under the reference of the training"),
            "ref_rejected_logps?": (F, "the same of the rejected answer"), "weight": F,
            "origin": (S, "generation, gold, replay or given"), "source_round": pa.int32(), "reason?": S,
            "extra?": (pa.map_(S, F), "further numbers by name"),
        },
        "row_id",
    ),
    _table(
        "checkpoints",
        "a trained, merged or imported model; append-only, a re-run supersedes",
        {
            "digest": S, "parents": pa.list_(S), "role": S, "path": S, "objective": S, "rows_expected": N, "rows_trained": N,
            "tokens": N, "steps": N, "loss?": F, "seconds": F, "inputs": (S, "JSON: table, part, content hash, version, files"),
            "settings": (S, "JSON"), "packages": (S, "JSON"), "attempt": S, "at": AT,
        },
        "digest attempt",
        measured="path seconds inputs packages attempt at",
        append=True,
    ),
    _table(
        "training_log",
        "a number of a training, as it ran: the mean over the optimizer steps since the entry before",
        {"digest": S, "step": (N, "optimizer steps done"), "metric": (S, "loss, grad_norm, rewards/margins, kl, ..."), "value": F},
        "step metric",
    ),
    _table("trained_rows", "a row as it was consumed", {"digest": S, "position": N, "row_id": S}, "position"),
    _table(
        "evaluations",
        "a metric",
        {
            "suite": (S, "gate, test or a named suite"), "metric": S, "topic?": (S, "null: all topics"), "value?": F,
            "stderr?": F, "n": (N, "prompts"),
        },
        "suite metric topic",
    ),
    _table(
        "promotions",
        "a decision; append-only",
        {
            "role": S, "decision": (S, "promoted, held, rolled_back or forced"), "digest": S,
            "effective_round": pa.int32(), "reason": S, "decided_by": S, "opening": N, "sequence": N, "at": AT,
        },
        "role sequence",
        measured="decided_by at sequence opening",
        append=True,
    ),
    _table(
        "steps",
        "the ledger: one step of one round done (part is the step)",
        {
            "step": S, "table": S, "parts": pa.list_(S), "fingerprint": S, "ingredients": (S, "JSON"), "content_hash": S,
            "version": (N, "Delta version of the table's commit"), "attempt": S, "rows_in": N, "rows_out": N,
            "reused_from?": (S, "experiment/round"), "state": (S, "done, reused or skipped"), "seconds": F,
            "detail?": (S, "JSON"), "at": AT,
        },
        "step",
        measured="seconds at attempt version",
    ),
]
# fmt: on
TABLES: dict[str, Table] = {table.name: table for table in _ALL}


def empty(name: str) -> pa.Table:
    """The table's schema with no row, partition columns included."""
    return TABLES[name].schema.empty_table()


def check(name: str, rows: pa.Table) -> pa.Table:
    """`rows` (without partition columns) cast to the schema of table `name`, columns in order.

    Absent nullable columns become null. Raises SchemaError naming table, column and row.
    """
    table = TABLES[name]
    unknown = set(rows.column_names) - set(table.columns.names)
    if unknown:
        raise SchemaError(f"table {name} has no column {sorted(unknown)}", hint=f"its columns: {', '.join(table.columns.names)}")
    arrays = []
    for column in table.columns:
        if column.name not in rows.column_names:
            if column.name not in table.nullable:
                raise SchemaError(
                    f"table {name} needs column {column.name!r} ({column.type})", hint=f"found: {', '.join(rows.column_names)}"
                )
            arrays.append(pa.nulls(rows.num_rows, column.type))
            continue
        array = rows[column.name]
        try:
            array = array.cast(column.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise SchemaError(f"table {name}, column {column.name}: expected {column.type}, found {array.type} ({error})") from error
        if array.null_count and column.name not in table.nullable:
            row = array.is_null().index(True).as_py()
            raise SchemaError(f"table {name}, column {column.name}, row {row}: null where a {column.type} is needed")
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=table.columns)


def check_keys(name: str, rows: pa.Table) -> None:
    """Raises SchemaError with the first key that stands twice in `rows`."""
    keys = list(TABLES[name].key)
    counts = rows.select(keys).group_by(keys).aggregate([([], "count_all")])
    if counts.num_rows != rows.num_rows:
        twice = next(row for row in counts.to_pylist() if row["count_all"] > 1)
        raise SchemaError(f"table {name}: key { ({k: twice[k] for k in keys}) } stands {twice['count_all']} times")
