"""Rows of `pairs` and `selected` as Hugging Face data sets in TRL's types, and back.

- preference (`pairs`): prompt, chosen, rejected; DPO, CPO, ORPO, reward models.
- unpaired (`pairs`: two rows a pair; or `selected` with labels): prompt, completion, label; KTO.
- prompt-completion (`selected`): prompt, completion; SFT.
`conversational` has lists of {role, content}, `plain` text. All other columns come along under their own names, entries of `extra` as
extra_<name>, so that going back gives the same rows. Source: the dataset formats of TRL 1.16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from engine.errors import DataError
from engine.ids import digest, prompt_id
from engine.pairs import SIDES
from engine.pairs.convert import ASSISTANT, USER, Messages, Row, preference, refused
from engine.tables import TABLES, check

if TYPE_CHECKING:
    from datasets import Dataset

Kind = Literal["preference", "unpaired", "prompt-completion"]
Form = Literal["conversational", "plain"]
DESIRABLE, UNDESIRABLE = "desirable", "undesirable"
EXTRA = "extra_"
GIVEN = "given"


def to_trl(rows: pa.Table, kind: Kind | None = None, form: Form = "conversational") -> Dataset:
    """Rows of `pairs` or `selected` (without partition columns) as a data set of one of TRL's types; without `kind` preference for
    pairs, prompt-completion for selected. DataError, naming the row, for one that the type cannot hold."""
    from datasets import Dataset

    paired = "chosen" in rows.column_names
    kind = kind or ("preference" if paired else "prompt-completion")
    if (kind == "preference") != paired and kind != "unpaired":
        raise DataError(f"a table of {'pairs' if paired else 'selected'} makes no {kind} data set", hint=f"allowed: {_allowed(paired)}")
    if kind == "preference":
        _all_or_none(rows)
    names = sorted({key for row in rows["extra"].to_pylist() for key, _ in row or ()}) if "extra" in rows.column_names else []
    made: list[Row] = []
    for row in rows.to_pylist():
        where = f"row {row['row_id']}"
        own = _numbers(row, rows.column_names, names)
        if not paired:
            made.append(_demonstration(row, kind, form, where) | own)
            continue
        prompt, sides = _shown(row["messages"], form, where, 0.0), {side: _shown(row[side], form, where) for side in SIDES if row.get(side)}
        if kind == "preference":
            made.append({"prompt": prompt} | dict.fromkeys(SIDES) | sides | own)
        else:
            made += [{"prompt": prompt, "completion": sides[side], "label": side == "chosen"} | own for side in SIDES[:2]]
    return Dataset(pa.Table.from_pylist(made, schema=_schema(rows.schema, made, form)))


def from_trl(dataset: Dataset, round_: int = 0) -> pa.Table:
    """A data set of one of TRL's types as rows of `pairs` (it has chosen and rejected, with or without a prompt) or of `selected`
    (prompt and completion, perhaps label; or messages). Columns that the table has are kept; `extra_<name>` becomes an entry of
    `extra`. `round_` is the source round of rows that name none. DataError, naming the row, for one that is none of these, and for
    a column that has no place."""
    names = set(dataset.column_names)
    table = "pairs" if {"chosen", "rejected"} <= names else "selected"
    if table == "selected" and not ({"prompt", "completion"} <= names or "messages" in names):
        text = f"expected chosen and rejected, prompt and completion, or messages; found {sorted(names)}"
        raise DataError(text, hint="see the dataset formats of TRL")
    columns = TABLES[table].columns
    shape = {"prompt", "completion", "label", "messages", *SIDES}
    lost = sorted(name for name in names - shape - set(columns.names) if not name.startswith(EXTRA))
    if lost:
        raise DataError(f"the table {table} has no column {', '.join(lost)}", hint=f"remove it, or name a number {EXTRA}{lost[0]}")
    made = [_paired(row, i, round_) if table == "pairs" else _selected(row, i, round_) for i, row in enumerate(dataset)]
    return check(table, pa.Table.from_pylist(made, schema=columns))


def _allowed(paired: bool) -> str:
    return "preference, unpaired" if paired else "prompt-completion, unpaired"


def _numbers(row: Row, columns: list[str], names: list[str]) -> Row:
    """Everything of a row that is no message."""
    own = {name: row[name] for name in columns if name not in ("messages", "extra", "label", *SIDES)}
    extra = dict(row.get("extra") or ())
    return own | {f"{EXTRA}{name}": extra.get(name) for name in names}


def _shown(said: list[Row], form: Form, where: str, context: float = 1.0) -> Messages | str:
    """Messages without what TRL does not know. `context`: the weight that an assistant's message must have."""
    for message in said:
        expected = context if message["role"] == ASSISTANT else 0.0
        if message["weight"] != expected:
            text = f"a message of role {message['role']} has the weight {message['weight']:g}, and TRL's types hold no weights"
            raise refused(text, where, "train it here, or export Parquet, which keeps them")
    if form == "conversational":
        return [{"role": message["role"], "content": message["content"]} for message in said]
    role = USER if context == 0 else ASSISTANT
    if [message["role"] for message in said] != [role]:
        found = [message["role"] for message in said]
        raise refused(f"plain text holds one message of role {role}, found {found}", where, "export it as conversational")
    return str(said[0]["content"])


def _demonstration(row: Row, kind: Kind, form: Form, where: str) -> Row:
    said = row["messages"]
    first = next((i for i, message in enumerate(said) if message["weight"] > 0), len(said))
    if first in (0, len(said)):
        raise refused("expected a prompt and messages that train behind it", where, "look at the weights of its messages")
    shown = {"prompt": _shown(said[:first], form, where, 0.0), "completion": _shown(said[first:], form, where)}
    if kind == "prompt-completion":
        return shown | {"label": row.get("label")}
    if row.get("label") not in (DESIRABLE, UNDESIRABLE):
        raise refused(f"expected the label {DESIRABLE} or {UNDESIRABLE}, found {row.get('label')!r}", where, "see select/kto.sql")
    return shown | {"label": row["label"] == DESIRABLE}


def _all_or_none(rows: pa.Table) -> None:
    """DataError where some rows have values of the reference and others none: TRL takes the column as a whole."""
    for name in ("ref_chosen_logps", "ref_rejected_logps"):
        column = rows[name]
        if 0 < column.null_count < rows.num_rows:
            row = rows["row_id"][column.is_null().index(True).as_py()].as_py()
            raise refused(f"no {name}, and other rows have it", f"row {row}", "set the column to null throughout, and TRL computes it")


def _schema(schema: pa.Schema, made: list[Row], form: Form) -> pa.Schema:
    """The types of the columns that are not null throughout: TRL takes a column of nulls for values."""
    chat = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])) if form == "conversational" else pa.string()
    kinds: dict[str, pa.DataType] = {}
    for name in made[0] if made else ():
        known = [row[name] for row in made if row[name] is not None]
        if not known:
            continue
        own = schema.field(name).type if name in schema.names else pa.float64()
        kinds[name] = chat if name in ("prompt", "completion", *SIDES) else pa.bool_() if isinstance(known[0], bool) else own
    return pa.schema(list(kinds.items()))


def _paired(row: Row, number: int, round_: int) -> Row:
    where = f"row {row.get('row_id') or number}"
    prompt, chosen, rejected = preference.read(row, where)
    own = _own(row, "pairs", prompt, round_) | {"messages": _marked(prompt, 0.0), "chosen": _marked(chosen), "rejected": _marked(rejected)}
    if row.get("third"):
        third = preference.answer(row["third"]) if isinstance(row["third"], str) else preference.messages(row["third"], where)
        own["third"] = _marked(third)
    return own | {"row_id": own.get("row_id") or digest(own["prompt_id"], chosen, rejected, own["origin"], own["source_round"])}


def _selected(row: Row, number: int, round_: int) -> Row:
    where = f"row {row.get('row_id') or number}"
    if "completion" in row:
        prompt = preference.asked_of(row["prompt"], where)
        said = row["completion"]
        said = preference.answer(said) if isinstance(said, str) else preference.messages(said, where)
    else:
        whole = preference.messages(row["messages"], where)
        n = next((i for i, message in enumerate(whole) if message["role"] == ASSISTANT), len(whole))
        prompt, said = whole[:n], whole[n:]
    if not prompt or not any(message["role"] == ASSISTANT for message in said):
        raise refused("expected a prompt and an assistant's answer to it", where)
    own = _own(row, "selected", prompt, round_) | {"messages": [*_marked(prompt, 0.0), *_marked(said)]}
    if isinstance(row.get("label"), bool):
        own["label"] = DESIRABLE if row["label"] else UNDESIRABLE
    side = [own["label"]] if own.get("label") else []
    return own | {"row_id": own.get("row_id") or digest(own["prompt_id"], said, own["origin"], own["source_round"], *side)}


def _own(row: Row, table: str, prompt: Messages, round_: int) -> Row:
    """Columns of the table that the row has, with what a row cannot be without."""
    own = {name: row[name] for name in TABLES[table].columns.names if name in row and name not in ("messages", "extra", *SIDES)}
    extra = [(name.removeprefix(EXTRA), value) for name, value in row.items() if name.startswith(EXTRA) and value is not None]
    own["prompt_id"] = own.get("prompt_id") or prompt_id(prompt)
    own["origin"] = own.get("origin") or GIVEN
    own["source_round"] = round_ if own.get("source_round") is None else own["source_round"]
    own["weight"] = 1.0 if own.get("weight") is None else own["weight"]
    return own | {"extra": extra or None}


def _marked(said: Messages, weight: float = 1.0) -> list[Row]:
    """Messages with origin and weight: of what is said, an assistant's messages train."""
    return [
        message
        | {"origin": GIVEN if weight and message["role"] == ASSISTANT else "prompt", "weight": weight * (message["role"] == ASSISTANT)}
        for message in said
    ]
