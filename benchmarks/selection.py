"""Best of 8 a prompt over 10 million answers: sql/select/raft.sql through Rondo's own session, beside hand-written Polars.

    python benchmarks/selection.py [--rows 10000000] [--top 1] [--min-score 0.0] [--repeat 3] [--folder DIR]

Every way runs in a process of its own, over the same Delta tables on disk, with the same joins and ties, to an Arrow
table or frame in memory; the answers chosen must be equal. Prints wall seconds (median), CPU seconds and peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SAMPLES = 8
# other plans for the same result, measured against the window of raft.sql
PLANS = {
    "max_by with n": "select prompt_id, unnest(max_by(generation_id, {'score': score, 'sample': -sample, 'id': generation_id}, $top)) "
    "as generation_id from scored where score >= $min_score group by prompt_id",
    "sorted list": "select prompt_id, unnest(list(generation_id order by score desc, sample, generation_id)[1:$top]) as generation_id "
    "from scored where score >= $min_score group by prompt_id",
}


def generate(folder: Path, rows: int) -> None:
    """Writes `rows` answers (8 a prompt, texts of 100-200 characters) and their scores as Delta tables."""
    import duckdb
    from deltalake import write_deltalake

    sys.path.insert(0, str(ROOT))
    from engine.tables import TABLES

    prompt, answer = f"printf('%016x', hash(1000000007 + i // {SAMPLES}))", "printf('%016x', hash(i))"
    made: dict[str, dict[str, str]] = {
        "generations": {
            "generation_id": answer,
            "content_id": "printf('%016x', hash(i % 1000003))",
            "prompt_id": prompt,
            "sample": f"i % {SAMPLES}",
            "turn": "0",
            "depth": "0",
            "is_terminal": "true",
            "actor": "'policy'",
            "model": "'0123456789abcdef'",
            "finish_reason": "'stop'",
            "response": "repeat('Then ' || (i % 97) || ' + ' || (i % 89) || ' = ' || (i % 97 + i % 89) || '. ', 6) || 'Answer: ' || i % 89",
        },
        "scores": {
            "item_id": answer,
            "item_kind": "'generation'",
            "prompt_id": prompt,
            "scorer": "'score'",
            "scorer_version": "'1'",
            "value": "(hash(i * 31) % 100) / 100.0",
            "verdict": "if(hash(i * 31) % 100 >= 50, 'right', 'wrong')",
        },
    }
    for table, columns in made.items():
        given = {"experiment": "'bench'", "round": "0", "part": "'rollout'" if table == "generations" else "'rollout/score'"} | columns
        schema = TABLES[table].schema
        select = ", ".join(f'{given.get(name, "null")} as "{name}"' for name in schema.names)
        with duckdb.connect() as connection:
            reader = connection.sql(f"select {select} from range({rows}) as t(i)").to_arrow_reader(200_000)
            batches = (batch.cast(schema) for batch in reader)
            import pyarrow as pa

            write_deltalake(
                str(folder / "lake" / table),
                pa.RecordBatchReader.from_batches(schema, batches),
                partition_by=["experiment", "round", "part"],
            )


def by_sql(folder: Path, query: str, top: int, min_score: float) -> Any:
    """A selection through a session as a step has it."""
    from engine.lake import Lake
    from engine.query import Session, Window
    from engine.spec import Compute

    limit = Compute().memory_limit
    session = Session(Lake(str(folder / "lake")), Window("bench", 0, lake=False), memory_limit=limit, spill=folder / "spill")
    return session.table(query, {"top": top, "min_score": min_score})


def by_polars(folder: Path, top: int, min_score: float) -> Any:
    """The same join, threshold, order and cut by hand; of the ways tried (sort, rank over, group) the fastest."""
    import polars as pl

    def scan(table: str, part: str) -> pl.LazyFrame:
        files = sorted((folder / "lake" / table / "experiment=bench" / "round=0" / f"part={part}").glob("*.parquet"))
        return pl.scan_parquet(files, hive_partitioning=False)

    scores = scan("scores", "rollout%2Fscore").select("item_id", score="value").filter(pl.col("score") >= min_score)
    joined = (
        scan("generations", "rollout")
        .select("generation_id", "prompt_id", "sample")
        .join(scores, left_on="generation_id", right_on="item_id")
    )
    best = pl.all().sort_by(["score", "sample", "generation_id"], descending=[True, False, False])
    if top == 1:
        return joined.group_by("prompt_id").agg(best.first()).collect(engine="streaming")
    return joined.group_by("prompt_id").agg(best.head(top)).explode("sample", "generation_id", "score").collect(engine="streaming")


def child(way: str, folder: Path, top: int, min_score: float) -> None:
    """Runs one way and prints its figures as JSON; the chosen ids go to a file."""
    sys.path.insert(0, str(ROOT))
    import polars as pl

    import engine.query  # noqa: F401 - both ways pay the same imports before the clock starts

    start, cpu = time.perf_counter(), time.process_time()
    if way == "polars":
        chosen = by_polars(folder, top, min_score)
    else:
        chosen = by_sql(folder, PLANS.get(way) or (ROOT / "sql" / "select" / "raft.sql").read_text(), top, min_score)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    frame = chosen if way == "polars" else pl.from_arrow(chosen)
    frame.select("generation_id").sort("generation_id").write_parquet(folder / f"{way}.parquet")
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, "rows": frame.height}))


def main() -> None:
    """Generates once, runs every way, prints the table, fails if the ways differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--top", type=int, default=1)
    parser.add_argument("--min-score", type=float, default=0.0, help="0 ranks every answer: the hardest case")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--plans", action="store_true", help="also the plans that raft.sql does not use")
    parser.add_argument("--folder", type=Path, help="keep the data here and use it again")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child == "generate":
        return generate(given.folder, given.rows)
    if given.child:
        return child(given.child, given.folder, given.top, given.min_score)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="rondo-select-"))
    arguments = ["--folder", str(folder), "--rows", str(given.rows), "--top", str(given.top), "--min-score", str(given.min_score)]

    def run(way: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, __file__, *arguments, "--child", way], capture_output=True, text=True, check=False)

    try:
        if not (folder / "lake").exists():
            made = run("generate")
            if made.returncode:
                raise SystemExit(made.stderr)
        ways = ["raft.sql", "polars", *(PLANS if given.plans else [])]
        results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(given.repeat):
            for way in ways:  # in turns, so that a busy machine slows all of them
                done = run(way)
                if done.returncode:
                    print(f"{way}: failed: {next((line for line in done.stderr.splitlines() if 'Error' in line), done.stderr)[:120]}")
                else:
                    results[way].append(json.loads(done.stdout))
        report(folder, given.rows, results)
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def report(folder: Path, rows: int, results: dict[str, list[dict[str, float]]]) -> None:
    """The table; SystemExit where raft.sql and Polars chose different answers."""
    print(f"{rows:,} answers, {SAMPLES} a prompt\n{'way':<16}{'seconds':>9}{'CPU s':>9}{'peak MB':>10}{'rows':>12}")
    for way, runs in results.items():
        if runs:
            middle = {key: statistics.median(run[key] for run in runs) for key in ("seconds", "cpu", "peak", "rows")}
            print(f"{way:<16}{middle['seconds']:>9.2f}{middle['cpu']:>9.2f}{middle['peak'] / 1e6:>10,.0f}{middle['rows']:>12,.0f}")
    if results["raft.sql"] and results["polars"]:
        ratio = [statistics.median(run["seconds"] for run in results[way]) for way in ("raft.sql", "polars")]
        same = (folder / "raft.sql.parquet").read_bytes() == (folder / "polars.parquet").read_bytes()
        print(f"raft.sql / polars: {ratio[0] / ratio[1]:.2f} of the time; same answers chosen: {'yes' if same else 'NO'}")
        if not same:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
