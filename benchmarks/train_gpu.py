"""One SFT and one DPO training of a model of about 100 million parameters, made here: tokens a second and memory.

    python benchmarks/train_gpu.py [--device cuda] [--dtype bfloat16] [--steps 30] [--rows 16] [--length 512]
    python benchmarks/train_gpu.py --device cpu --dtype float32 --tiny     # the same code in a minute, to see that it works

Goes through the house's own objectives: rows of `selected` and `pairs`, bfloat16 autocast over float32 weights, gradient
checkpointing and the attention that the settings choose for the device. Every training runs in a process of its own. Tokens of both
sides count for pairs, prompts included; the first steps (a fifth) warm up and are left out. Memory: the peak that torch reserved
on the GPU, resident memory on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

LARGE = {"hidden_size": 768, "layers": 12, "heads": 12, "ffn": 2048, "vocabulary": 16000}
TINY = {"hidden_size": 32, "layers": 2, "heads": 2, "ffn": 64, "vocabulary": 300}
RESULT = "@result "


def rows(kind: str, number: int, length: int) -> pa.Table:
    """Rows of about `length` characters of sums; a token is about a character of the tiny tokenizer."""
    from engine.tables import TABLES

    def said(role: str, text: str) -> list[dict[str, Any]]:
        return [{"role": role, "content": text, "origin": "gold", "weight": float(role == "assistant")}]

    def text(i: int) -> str:
        return " ".join(f"{i + k} + {k} = {i + 2 * k}." for k in range(length))[: length - 40]

    made = []
    for i in range(number):
        own = {"row_id": f"{i:06d}", "prompt_id": str(i), "weight": 1.0, "origin": "gold", "source_round": 0}
        asked = said("user", f"Add from {i % 90} on.")
        if kind == "sft":
            made.append(own | {"messages": [*asked, *said("assistant", " " + text(i))]})
        else:
            sides = {"chosen": said("assistant", " " + text(i)), "rejected": said("assistant", " " + text(i + 1))}
            made.append(own | {"messages": asked, "ref_chosen_logps": -900.0, "ref_rejected_logps": -900.0} | sides)
    return pa.Table.from_pylist(made, schema=TABLES["selected" if kind == "sft" else "pairs"].columns)


def make(folder: Path, how: dict[str, int], length: int) -> int:
    """An untrained Llama with a small tokenizer and a large vocabulary; its number of parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from engine.spec import TinyModel
    from engine.train import tiny

    texts = [m["content"] for row in rows("sft", 50, length)["messages"].to_pylist() for m in row]
    words = tiny.tokenizer(texts, TinyModel(vocabulary=300))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=max(how["vocabulary"], len(words)),
        hidden_size=how["hidden_size"],
        intermediate_size=how["ffn"],
        num_hidden_layers=how["layers"],
        num_attention_heads=how["heads"],
        num_key_value_heads=how["heads"],
        max_position_embeddings=4 * length,
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return model.num_parameters()


def work(folder: Path, kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """One training in this process; its figures."""
    import torch

    from engine.attention import AUTO
    from engine.spec import Train
    from engine.step import Device, Silent
    from engine.train import Job, objective

    class Clock(Silent):
        """When each step was over."""

        times: list[float]

        def advance(self, rows: int) -> None:
            if args.device.startswith("cuda"):
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())

    clock = Clock()
    clock.times = [time.perf_counter()]
    how = {"init": "base", "data": "round", "learning_rate": 1e-4, "max_length": 4 * args.length, "save_every": 10**9}
    reference = "none" if kind == "sft" else "base"
    train = Train(objective=kind, reference=reference, batch_size=args.rows, max_steps=args.steps, **how)
    job = Job(
        model=folder / "model",
        rows=rows(kind, args.rows * args.steps, args.length),
        settings=train,
        device=Device(args.device, args.threads, args.dtype, AUTO),
        seed=1,
        round=0,
        out=folder / f"{kind}-out",
        state=folder / f"{kind}-state",
        progress=clock,
    )
    torch.set_num_threads(args.threads)
    trained = objective(train).train(job)
    warm = max(1, args.steps // 5)
    seconds = clock.times[-1] - clock.times[warm]
    gpu = args.device.startswith("cuda")
    memory = torch.cuda.max_memory_reserved() / 2**20 if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = trained.tokens * (args.steps - warm) / args.steps / seconds
    return {"tokens": trained.tokens, "tokens_per_second": rate, "steps": trained.steps, "memory": memory, "loss": trained.loss}


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="a model of some ten thousand parameters")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        print(RESULT + json.dumps(work(Path(args.work[0]), args.work[1], args)), flush=True)
        return
    if args.device.startswith("cuda") and not _gpu():
        print("no GPU here, so nothing is measured; --device cpu --dtype float32 --tiny tries the code")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters = make(folder / "model", TINY if args.tiny else LARGE, args.length)
        print(f"{parameters:,} parameters, {args.device}, {args.dtype}, {args.rows} rows a step, {args.steps} steps")
        for kind in ("sft", "dpo"):
            command = [sys.executable, __file__, *sys.argv[1:], "--work", name, kind]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
            found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith(RESULT)).removeprefix(RESULT))
            print(
                f"  {kind}  {found['tokens_per_second']:,.0f} tokens/s  peak {found['memory']:,.0f} MiB  "
                f"{found['tokens']:,} tokens in {found['steps']} steps  mean loss {found['loss']:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
