"""B-STaR's sweep over temperatures and thresholds as SQL, beside a plain scan of every pair.

    .venv/bin/python benchmarks/budgets.py --prompts 1000 --samples 64 --temperatures 15 --scan 1

`--scan` says how many temperatures the plain scan does; its time is given for all of them. Prints seconds of wall time and of CPU
time. Both must find the same best threshold for the temperatures that both did.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from engine.lake import Lake
from engine.query import Session, Window
from engine.sqlfile import find, read
from engine.tables import TABLES

GRID = [round(-1 + i * 0.01, 9) for i in range(201)]
N_STAR, TARGET_SHARE = 6, 3.55  # rows a prompt that the paper keeps in its calibration
Answers = dict[tuple[int, int], list[tuple[float, bool, str]]]


def answers(prompts: int, samples: int, temperatures: int) -> Answers:
    """Reward, whether right, and text of each answer, by temperature and prompt, in the order of the samples."""
    rng = random.Random(1)
    found = {}
    for heat in range(temperatures):
        for prompt in range(prompts):
            chance = min(0.95, max(0.02, rng.gauss(0.5 - heat / 60, 0.25)))
            rights = [rng.random() < chance for _ in range(samples)]
            found[heat, prompt] = [(right + rng.uniform(-0.2, 0.2), right, f"{right} {rng.randrange(40)}") for right in rights]
    return found


def lake(folder: Path, made: Answers, samples: int) -> Lake:
    """The answers as the calibration of round 0."""
    place = [(heat, prompt, k) for heat, prompt in made for k in range(samples)]
    ids = [f"{prompt:06d}-{heat:02d}-{k:03d}" for heat, prompt, k in place]
    flat = [row for rows in made.values() for row in rows]
    columns = {
        "generation_id": ids,
        "prompt_id": [f"{prompt:06d}" for _, prompt, _ in place],
        "sample": [heat * samples + k for heat, _, k in place],
        "response": [text for _, _, text in flat],
        "temperature": [0.5 + heat / 20 for heat, _, _ in place],
    }
    found = Lake(str(folder))
    found.replace("generations", _whole("generations", columns, len(ids)), experiment="b", round=0, part="calibrate")
    scores = {
        "item_id": ids,
        "prompt_id": columns["prompt_id"],
        "value": [reward for reward, _, _ in flat],
        "verdict": ["right" if right else "wrong" for _, right, _ in flat],
    }
    found.replace("scores", _whole("scores", scores, len(ids)), experiment="b", round=0, part="calibrate/score")
    return found


def _whole(table: str, columns: dict[str, list], rows: int) -> pa.Table:
    """Columns that are not given are empty text, false or 0."""
    schema = TABLES[table].columns

    def column(field: pa.Field) -> pa.Array:
        if field.name in columns:
            return pa.array(columns[field.name], field.type)
        if field.name in TABLES[table].nullable:
            return pa.nulls(rows, field.type)
        return pa.array(([""] if pa.types.is_string(field.type) else [0]) * rows).cast(field.type)

    return pa.Table.from_arrays([column(field) for field in schema], schema=schema)


def scan(rows: list[list[tuple[float, bool, str]]], most: int, target: int) -> tuple[float, float, int]:
    """Balance, threshold and answers a prompt of one temperature, by trying every threshold."""
    ordered = [sorted(one, key=lambda row: -row[0]) for one in rows]
    best = (-1.0, 0.0, 0)
    for threshold in GRID:
        above = [[row for row in one if row[0] > threshold] for one in ordered]
        size, total, seen = most, 0, [set[str]() for _ in above]
        for place in range(most):
            for one, texts in zip(above, seen, strict=True):
                if place < len(one) and one[place][2] not in texts:
                    texts.add(one[place][2])
                    total += 1
            if total >= target:
                size = place + 1
                break
        values = []
        for one in above:
            kept = {text: right for _, right, text in reversed(one[:size])}
            if kept:
                right = sum(kept.values())
                values.append(min(right / N_STAR, 1) * right / len(kept))
        balance = round(sum(values) / len(values), 9) if values else -1.0
        if balance > best[0]:
            best = (balance, threshold, size)
    return best


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {"prompts": 1000, "samples": 64, "temperatures": 15, "scan": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    made = answers(args.prompts, args.samples, args.temperatures)
    target = int(args.prompts * TARGET_SHARE)
    with tempfile.TemporaryDirectory() as folder:
        session = Session(
            lake(Path(folder), made, args.samples),
            Window("b", 0, lake=False),
            memory_limit="1.5GB",
            threads=1,
            spill=Path(folder) / "spill",
        )
        file = read(find("plan/bstar.sql"))
        wall, cpu = time.perf_counter(), time.process_time()
        table = session.table(file.query(), file.bind({"target": target, "bar": 0.7, "n_star": N_STAR}))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    reasons = {row["item_id"]: (float(row["value"]), row["reason"]) for row in table.to_pylist() if row["key"] == "balance"}
    print(f"sql    {len(made) * args.samples:,} answers, {args.temperatures} x {len(GRID)} pairs: {wall:.2f} s wall, {cpu:.2f} s CPU")
    slow_wall, slow_cpu = time.perf_counter(), time.process_time()
    for heat in range(args.scan):
        balance, threshold, size = scan([made[heat, prompt] for prompt in range(args.prompts)], 64, target)
        value, reason = reasons[f"{0.5 + heat / 20:g}"]
        assert abs(value - balance) < 1e-8 and reason == f"threshold {threshold:g}, keep {size}", (balance, threshold, size, value, reason)
    factor = args.temperatures / args.scan
    slow_wall, slow_cpu = (time.perf_counter() - slow_wall) * factor, (time.process_time() - slow_cpu) * factor
    print(f"scan   the same pairs in plain Python: {slow_wall:.2f} s wall, {slow_cpu:.2f} s CPU")
    print(f"ratio  {slow_wall / wall:.1f} by wall time, {slow_cpu / cpu:.1f} by CPU time")


if __name__ == "__main__":
    main()
