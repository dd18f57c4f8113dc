"""The client of OpenAI-compatible servers beside the `openai` package: overhead on a quick server, manners on a full one.

    python benchmarks/server_client.py [--requests 2000] [--places 32] [--delay 0.05] [--takes 8]

Every way runs in a process of its own against the same small server (a further process). `quick`: each reply comes after `delay`
seconds. `full`: at most `takes` requests at once, the rest get 429 without Retry-After. `sent`: what arrived at the server.
Prints wall seconds (ideal: what the delays alone would take), CPU seconds of the client, requests sent, and replies lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
REPLY = json.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Score: 7"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
    }
)


async def serve(delay: float, takes: int) -> None:
    """Says its port, then answers until its standard input ends; then says how many requests came."""
    busy = sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy, sent
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                await reader.readexactly(length)
                sent += 1
                busy += 1
                full = 0 < takes < busy
                if not full:
                    await asyncio.sleep(delay)
                busy -= 1
                body = b'{"error": {"message": "busy"}}' if full else REPLY.encode()
                status = b"429 Too Many Requests" if full else b"200 OK"
                writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\n")
                writer.write(b"content-length: " + str(len(body)).encode() + b"\r\n\r\n" + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(sent, flush=True)


def rondo(url: str, n: int, places: int) -> int:
    """Replies that came."""
    sys.path.insert(0, str(ROOT))
    from engine.server import Request, ServerParams
    from engine.server.client import Client

    client = Client(ServerParams(url=url, model="m", concurrency=places, attempts=20, backoff=0.2))
    requests = [Request(str(i), ({"role": "user", "content": f"judge {i}"},), {"max_tokens": 8}) for i in range(n)]
    return sum(reply.failure is None for reply in client.complete(requests))


def openai(url: str, n: int, places: int) -> int:
    """Replies that came, through AsyncOpenAI with its own retries and a semaphore."""
    from openai import AsyncOpenAI, OpenAIError

    async def work() -> int:
        client, gate = AsyncOpenAI(base_url=url, api_key="x", max_retries=20), asyncio.Semaphore(places)

        async def one(i: int) -> bool:
            async with gate:
                try:
                    await client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"judge {i}"}], max_tokens=8)
                except OpenAIError:
                    return False
                return True

        return sum(await asyncio.gather(*(one(i) for i in range(n))))

    return asyncio.run(work())


WAYS = {"rondo": rondo, "openai": openai}


def measure(way: str, n: int, places: int, delay: float, takes: int) -> dict[str, float]:
    """One way against a fresh server."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", "--delay", str(delay), "--takes", str(takes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin and server.stdout
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
    command = [sys.executable, __file__, "--way", way, "--url", url, "--requests", str(n), "--places", str(places)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    server.stdin.close()
    found["sent"] = int(server.stdout.readline())
    server.wait()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("requests", 2000), ("places", 32), ("takes", 8)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.delay, args.takes))
        return
    if args.way:
        WAYS[args.way](args.url, 1, 1)  # imports and the first connection are not measured
        wall, cpu = time.perf_counter(), time.process_time()
        came = WAYS[args.way](args.url, args.requests, args.places)
        print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "lost": args.requests - came}))
        return
    print(f"{'server':8}{'client':10}{'wall s':>8}{'ideal s':>9}{'cpu s':>8}{'cpu ms each':>13}{'sent':>8}{'lost':>6}")
    for server, takes in (("quick", 0), ("full", args.takes)):
        ideal = args.requests * args.delay / min(args.places, takes or args.places)
        for way in WAYS:
            got = measure(way, args.requests, args.places, args.delay, takes)
            each = 1000 * got["cpu"] / args.requests
            row = f"{server:8}{way:10}{got['wall']:8.2f}{ideal:9.2f}{got['cpu']:8.2f}{each:13.2f}{got['sent'] - 1:8}{got['lost']:6}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
