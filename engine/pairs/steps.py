"""The steps of the pairs room: `pairs` for the policy, `pairs_<role>` for every other role that trains on pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.errors import StepError
from engine.pairs import SIDES, STEP, answers, load, of, roles
from engine.pairs.fill import pair
from engine.select import carried
from engine.spec import Spec, Train
from engine.step import POLICY, Context, Output, Ref, Step
from engine.train import objective, references, sides


class PairsStep(Step):
    """Runs the pairing of a role, adds pairs of earlier rounds as `data` says, and the log-probabilities that the training needs."""

    table, on_device = "pairs", True

    def __init__(self, role: str, spec_path: Path | None = None) -> None:
        self.part, self.spec_path = role, spec_path
        self.name = STEP if role == POLICY else f"{STEP}_{role}"

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """What the SQL reads, what its messages are filled from, the pairs of earlier rounds, and the models of the reference."""
        train = self._train(spec)
        sql = load(spec, self.spec_path, self.part)
        found = sql.refs(spec, [picker.column for picker in spec.select.pickers])
        if answers(sql):
            found.append(Ref("generations", "rollout"))
        found += [Ref("prompts", "train"), *carried.reads("pairs", self.part, train)]
        return list(dict.fromkeys(found + references.refs(self._models(spec, train), self.part)))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """The SQL and its parameters, and what log-probabilities depend on."""
        train = self._train(spec)
        own = {**load(spec, spec_path, self.part).settings(spec, round_), **carried.settings(train, spec), "round": round_}
        if self._models(spec, train):
            own |= {"weights": self._weights(train), "logps": of(spec, self.part).logps, "mask": train.mask}
            own |= {"max_length": train.max_length, "chat": spec.generate.chat, "trust_remote_code": spec.models.trust_remote_code}
        return own

    def run(self, ctx: Context) -> Output:
        """Fresh pairs in order of prompt, then those carried over. StepError where the SQL gives none."""
        train, sql = self._train(ctx.spec), load(ctx.spec, ctx.spec_path, self.part)
        fresh = pair(ctx, sql)
        if not fresh.num_rows:
            counts = [
                f"{name} has {ctx.sql(f'select count(1) as n from {name}', {})['n'][0].as_py():,} rows" for name in sorted(sql.tables)
            ]
            raise StepError(
                f"{self.name}: the SQL made no pair: {', '.join(counts)}",
                where=str(sql.file.path),
                hint="are all answers of a prompt equally good? `rondo sql` on `scored` shows them",
            )
        older = carried.rows(ctx, "pairs", self.part, train, fresh)
        rows = pa.concat_tables([fresh, older]) if older else fresh
        rows = self._referred(ctx, train, rows)
        detail = {"sql": of(ctx.spec, self.part).sql, "fresh": fresh.num_rows, "carried": rows.num_rows - fresh.num_rows}
        return Output({("pairs", self.part): rows}, fresh.num_rows, detail)

    def _train(self, spec: Spec) -> Train:
        return next(train for train in spec.train if train.role == self.part)

    def _weights(self, train: Train) -> dict[str, float]:
        """The models of the reference, where the objective takes its values from the rows."""
        return train.references if objective(train).reference == "values" else {}

    def _models(self, spec: Spec, train: Train) -> list[str]:
        return sorted({*self._weights(train), *of(spec, self.part).logps})

    def _referred(self, ctx: Context, train: Train, rows: pa.Table) -> pa.Table:
        """`rows` with the values of the reference and what `logps` asks for. Rows that were carried over are read anew: the reference
        of this round is another model."""
        weights, names = self._weights(train), self._models(ctx.spec, train)
        if not names:
            return rows
        given = {side: sides.rows(rows, side, train.mask) for side in SIDES[:2]}
        found = references.values(ctx, train, given, names, sides.MASK)
        if weights:
            for side in SIDES[:2]:
                column = f"ref_{side}_logps"
                rows = rows.set_column(
                    rows.column_names.index(column), column, pa.array(references.mixed(found, weights, side), pa.float64())
                )
        wanted = of(ctx.spec, self.part).logps or (tuple(weights) if len(weights) > 1 else ())
        extra = [dict(row or ()) for row in rows["extra"].to_pylist()]
        for i, row in enumerate(extra):
            row |= {f"{side}_logps_{name}": found[name][side][i] for name in wanted for side in SIDES[:2]}
        kept = pa.array([list(row.items()) or None for row in extra], rows.schema.field("extra").type)
        return rows.set_column(rows.column_names.index("extra"), "extra", kept)


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """The steps of this room. Without `spec_path`, what the SQL reads is looked up among the shipped files only."""
    return [PairsStep(train.role, spec_path) for train in roles(spec)]
