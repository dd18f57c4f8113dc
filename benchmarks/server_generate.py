"""Answers from a server that fails: the backend `openai` with and without faults, beside the `openai` package.

    python benchmarks/server_generate.py [--requests 3000] [--places 32] [--delay 0.4] [--faults 0.1] [--repeats 3]

A small server (a process of its own) answers each request after `delay` seconds, as many at once as come. With faults, a tenth of
the requests meets one of these instead, by lot: 429 at once; 429 at once with `Retry-After: 1`; 500 after the whole delay; a
connection that drops after half of it; silence until the client's time limit (five delays) is over. Ways: `rondo` is the backend
with its journal; `openai` is AsyncOpenAI with its own retries, whose place is held meanwhile by a semaphore.

Runs with and without faults take turns; medians over the repeats. `answers/s`: answers that came, by wall seconds. `middle`: the
same from the 5th to the 95th percent of the answers, without the start and without the last retries. `work`: seconds of the
server's places that were in use, faults included, by wall second and place. Ratios are faulty by clean. `lost`: requests that
never got an answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FAULTS = ("429", "429 later", "500", "drop", "silence")
REPLY = json.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "7"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
    }
)


async def serve(delay: float, share: float) -> None:
    """Says its port, then answers until its standard input ends; then says how many requests came and how long they took."""
    dice, told = random.Random(3), {"sent": 0, "seconds": 0.0}

    async def act(writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        fault = dice.choice(FAULTS) if dice.random() < share else ""
        await asyncio.sleep({"429": 0, "429 later": 0, "drop": delay / 2, "silence": 20 * delay}.get(fault, delay))
        if fault in ("drop", "silence"):
            return False
        status = {"429": "429 Too Many Requests", "429 later": "429 Too Many Requests", "500": "500 Oops"}.get(fault, "200 OK")
        text = '{"error": {"message": "not now"}}' if fault else REPLY
        later = "retry-after: 1\r\n" if fault == "429 later" else ""
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{later}content-length: {len(text)}\r\n\r\n"
        writer.write((head + text).encode())
        await writer.drain()
        return True

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                await reader.readexactly(length)
                told["sent"] += 1
                began, gone = time.perf_counter(), asyncio.ensure_future(reader.read(1))
                work = asyncio.ensure_future(act(writer))
                # a client that gives up closes the connection, and its place is free
                await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
                told["seconds"] += time.perf_counter() - began
                if not work.done() or not work.result() or gone.done():
                    work.cancel()
                    gone.cancel()
                    break
                gone.cancel()
                await asyncio.wait({gone})
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps(told), flush=True)


def rondo(url: str, n: int, places: int, limit: float) -> Iterator[float]:
    """The moment of each answer, through the backend, a journal line each."""
    sys.path.insert(0, str(ROOT))
    import pyarrow as pa

    from engine.generate import Job, backends, params
    from engine.generate.drive import FILE
    from engine.lines import Lines
    from engine.spec import Sampler
    from engine.step import Device

    own = {"url": url, "model": "m", "concurrency": places, "timeout": limit, "attempts": 20}
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            params=params("openai", own, "params"),
            sampler=Sampler(max_tokens=12),
            samples=1,
            chat=None,
            model=None,
            device=Device("cpu", 1, "float32"),
            seed=0,
            round=0,
            step="generations",
            trust_remote_code=False,
            spec_path=Path(folder) / "spec.yaml",
        )
        asks = [{"prompt_id": f"p{i}", "messages": [{"role": "user", "content": f"say {i}"}]} for i in range(n)]
        with Lines(Path(folder) / FILE) as log:
            for rows in backends.load("openai")(job).generate(pa.RecordBatch.from_pylist(asks)):
                log.append(rows.to_pylist())
                yield time.perf_counter()


def openai(url: str, n: int, places: int, limit: float) -> Iterator[float]:
    """The moment of each answer, through AsyncOpenAI with its own retries and a semaphore."""
    from openai import AsyncOpenAI, OpenAIError

    async def work() -> list[float]:
        client, gate = AsyncOpenAI(base_url=url, api_key="x", max_retries=20, timeout=limit), asyncio.Semaphore(places)

        async def one(i: int) -> float | None:
            async with gate:
                try:
                    await client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"say {i}"}], max_tokens=12)
                except OpenAIError:
                    return None
                return time.perf_counter()

        return [moment for moment in await asyncio.gather(*(one(i) for i in range(n))) if moment]

    yield from asyncio.run(work())


WAYS = {"rondo": rondo, "openai": openai}


def measure(way: str, args: argparse.Namespace, share: float) -> dict[str, float]:
    """One way against a fresh server."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", "--delay", str(args.delay), "--faults", str(share)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin and server.stdout
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
    command = [sys.executable, __file__, "--way", way, "--url", url, "--delay", str(args.delay)]
    command += ["--requests", str(args.requests), "--places", str(args.places)]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    server.stdin.close()
    told = json.loads(server.stdout.readline())
    server.wait()
    return found | {"sent": told["sent"], "work": told["seconds"] / found["wall"] / args.places}


def timed(way: str, url: str, n: int, places: int, limit: float) -> dict[str, float]:
    """Wall and CPU seconds, and answers a second in all and in the middle."""
    began, cpu = time.perf_counter(), time.process_time()
    moments = sorted(WAYS[way](url, n, places, limit))
    wall = time.perf_counter() - began
    low, high = len(moments) // 20, len(moments) - len(moments) // 20 - 1
    middle = (high - low) / (moments[high] - moments[low])
    return {"wall": wall, "cpu": time.process_time() - cpu, "rate": len(moments) / wall, "middle": middle, "lost": n - len(moments)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("requests", 3000), ("places", 32), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in (("delay", 0.4), ("faults", 0.1)):
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.delay, args.faults))
        return
    if args.way:
        print(json.dumps(timed(args.way, args.url, args.requests, args.places, 5 * args.delay)))
        return
    runs: dict[tuple[str, float], list[dict[str, float]]] = {}
    for _ in range(args.repeats):
        for way in WAYS:
            for share in (0.0, args.faults):
                runs.setdefault((way, share), []).append(measure(way, args, share))
    print(f"{'client':8}{'faults':>8}{'wall s':>8}{'answers/s':>11}{'middle':>8}{'work':>7}{'cpu ms each':>13}{'sent':>7}{'lost':>6}")
    for way in WAYS:
        clean, faulty = ({k: statistics.median(r[k] for r in runs[way, s]) for k in runs[way, s][0]} for s in (0.0, args.faults))
        for share, got in ((0.0, clean), (args.faults, faulty)):
            each = 1000 * got["cpu"] / args.requests
            row = f"{way:8}{share:8.0%}{got['wall']:8.2f}{got['rate']:11.1f}{got['middle']:8.1f}{got['work']:7.2f}{each:13.2f}"
            print(f"{row}{got['sent']:7.0f}{got['lost']:6.0f}")
        ratios = [faulty[name] / clean[name] for name in ("rate", "middle", "work")]
        print(f"{'':8}{'ratio':>8}{'':8}{ratios[0]:11.3f}{ratios[1]:8.3f}{ratios[2]:7.3f}")


if __name__ == "__main__":
    main()
