"""Our SFT and pair trainers beside plain TRL SFTTrainer and DPOTrainer: steps a second and peak memory on the same batches.

    python benchmarks/train.py [--sizes small,large] [--kinds sft,dpo] [--blocks 10]

Every way trains in a process of its own: the same weights, token ids, batches, learning rates and optimizer (fused AdamW, float32,
one thread), reference log-probabilities as columns, no states saved. The processes take turns of a few steps, so that a busy
machine slows all alike. `ours` logs every 10 steps, `ours, log 1` every step, as `log_every` of the spec says.
small: the model of the quickstart; large: 9 million parameters and 16,000 entries in the vocabulary.
Prints medians over the turns of steps a second by wall and by CPU time, their ratios to TRL (median of the ratios turn by turn), the
peak of resident memory, and the mean loss, which is the same where the same was trained. Must hold: 0.97 of the steps, 1.05 of the
memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]  # in workers too

WAYS = ("trl", "ours", "ours, log 1")
SIZES = {
    "small": {"hidden": 64, "layers": 2, "ffn": 192, "vocabulary": 390, "rows": 32, "words": 14, "turn": 10},
    "large": {"hidden": 256, "layers": 6, "ffn": 768, "vocabulary": 16000, "rows": 8, "words": 30, "turn": 2},
}
MARK = "@turn "
RATE, SEED = 1e-4, 5


def prepare(folder: Path, size: dict[str, int], batches: int) -> None:
    """An untrained model in `folder`, and rows of both tables, `batches` times the batch size of each."""
    import pyarrow as pa
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from engine.spec import TinyModel
    from engine.tables import TABLES
    from engine.train import tiny

    texts = [[f"Add {i} and {7 * i % 90}, then go on." + " Say why." * (i % 5), " " + answer(i, size["words"])] for i in range(400)]
    words = tiny.tokenizer([text for pair in texts for text in pair], TinyModel(vocabulary=390))
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=max(size["vocabulary"], len(words)),
        hidden_size=size["hidden"],
        intermediate_size=size["ffn"],
        num_hidden_layers=size["layers"],
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder / "model")
    words.save_pretrained(folder / "model")
    (folder / "size.json").write_text(json.dumps({"parameters": model.num_parameters()}))

    def said(role: str, text: str) -> list[dict[str, Any]]:
        return [{"role": role, "content": text, "origin": "gold", "weight": float(role == "assistant")}]

    shown, pairs = [], []
    for i in range(batches * size["rows"]):
        (question, right), wrong = texts[i % 400], texts[(i * 7 + 3) % 400][1]
        own = {"row_id": f"{i:06d}", "prompt_id": str(i), "weight": 1.0, "origin": "gold", "source_round": 0}
        shown.append(own | {"messages": [*said("user", question), *said("assistant", right)]})
        sides = {"chosen": said("assistant", right), "rejected": said("assistant", wrong)}
        pairs.append(own | {"messages": said("user", question), "ref_chosen_logps": -90.0, "ref_rejected_logps": -95.0} | sides)
    for table, rows in (("selected", shown), ("pairs", pairs)):
        with pa.OSFile(str(folder / f"{table}.arrow"), "wb") as file, pa.ipc.new_file(file, TABLES[table].columns) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema=TABLES[table].columns))


def answer(i: int, words: int) -> str:
    """A made-up answer of about `words` words."""
    return " ".join(f"{i + k} + {k} = {i + 2 * k}." for k in range(1 + words // (2 + i % 3)))


def read(folder: Path, table: str) -> Any:
    """The rows of a table."""
    import pyarrow as pa

    with pa.memory_map(str(folder / f"{table}.arrow")) as file:
        return pa.ipc.open_file(file).read_all()


def gate(turn: int) -> Any:
    """A callback of transformers that says after every `turn` steps how long they took, then waits for a line."""
    from transformers import TrainerCallback

    class Gate(TrainerCallback):
        wall = cpu = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step % turn == 0:
                print(MARK + json.dumps({"wall": self.wall, "cpu": self.cpu}), flush=True)
                sys.stdin.readline()
                self.wall = self.cpu = 0.0
            self.start = time.perf_counter(), time.process_time()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.wall += time.perf_counter() - self.start[0]
            self.cpu += time.process_time() - self.start[1]

    return Gate()


def settings(size: dict[str, int], steps: int, way: str) -> Any:
    """The entry of `train` that all ways follow."""
    from engine.spec import Train

    how = {"objective": "sft", "init": "base", "reference": "none", "data": "round", "learning_rate": RATE, "max_length": 512}
    often = 1 if way.endswith("1") else 10
    return Train(**how, batch_size=size["rows"], max_steps=steps, save_every=10**9, log_every=often)


def ours(folder: Path, kind: str, size: dict[str, int], steps: int, way: str) -> float:
    """Trains by the house's objective; the mean loss."""
    from engine.step import Device, Silent
    from engine.train import Job, objectives
    from engine.train.running import Running

    built = Running.built

    def watched(self: Running, *args: Any, **more: Any) -> Any:
        trainer = built(self, *args, **more)
        trainer.add_callback(gate(size["turn"]))
        return trainer

    Running.built = watched  # type: ignore[method-assign]
    how = settings(size, steps, way)
    job = Job(
        model=folder / "model",
        rows=read(folder, "selected" if kind == "sft" else "pairs"),
        settings=how,
        device=Device("cpu", 1, "float32"),
        seed=SEED,
        round=0,
        out=folder / f"out-{os.getpid()}",
        state=folder / f"state-{os.getpid()}",
        progress=Silent(),
    )
    return objectives.load(kind)().train(job).loss


def plain(folder: Path, kind: str, size: dict[str, int], steps: int) -> float:
    """Trains with TRL alone on the token ids of tokens.json, in order; the mean loss."""
    import torch
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    disable_progress_bars()
    rows = Dataset.from_list(json.loads((folder / f"{kind}.json").read_text()))
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    words = AutoTokenizer.from_pretrained(folder / "model")
    common: dict[str, Any] = {
        "output_dir": str(folder / "plain"),
        "seed": SEED,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": size["rows"],
        "max_steps": steps,
        "train_sampling_strategy": "sequential",
        "learning_rate": RATE,
        "weight_decay": 0.0,
        "lr_scheduler_type": "linear",
        "optim": "adamw_torch_fused",
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "logging_steps": 10,
        "report_to": "none",
        "disable_tqdm": True,
        "max_length": None,
    }
    if kind == "sft":
        more: dict[str, Any] = {"completion_only_loss": True}
        trainer: Any = SFTTrainer(args=SFTConfig(**common, **more), model=model, processing_class=words, train_dataset=rows)
    else:

        class Given(DPOTrainer):
            """TRL's trainer on token ids and reference values as they are."""

            def _prepare_dataset(self, dataset: Any, *args: Any, **more: Any) -> Any:
                return dataset

            def _precompute_ref_logps(self, dataset: Any, *args: Any, **more: Any) -> Any:
                return dataset

        config = DPOConfig(**common, precompute_ref_log_probs=True)
        trainer = Given(args=config, model=model, processing_class=words, train_dataset=rows)
    trainer.pop_callback(next(c for c in trainer.callback_handler.callbacks if type(c).__name__ == "PrinterCallback"))
    trainer.add_callback(gate(size["turn"]))
    return trainer.train().training_loss


def tokens(folder: Path, size: dict[str, int], steps: int) -> None:
    """The house's token ids in the order of its plan, for TRL: sft.json, dpo.json."""
    from engine import models
    from engine.step import Device
    from engine.train import order, sides
    from engine.train.running import encoder

    model, words = models.load(folder / "model", Device("cpu", 1, "float32"), False, train=True)
    coder = encoder(model, words, mask="assistant", chat=None, longest=512)
    shown, pairs = read(folder, "selected"), read(folder, "pairs")
    ids = shown["row_id"].to_pylist()
    plan = order.plan(ids, batch_size=size["rows"], epochs=1, max_steps=steps, seed=SEED, round_=0)
    flat = [i for batch in plan for i in batch]
    rows = coder.encode(shown)
    masks = [{"input_ids": rows[i].ids.tolist(), "completion_mask": [int(w > 0) for w in rows[i].weights]} for i in flat]
    (folder / "sft.json").write_text(json.dumps(masks))
    coder = encoder(model, words, mask=sides.MASK, chat=None, longest=512)
    chosen, rejected = (coder.encode(sides.rows(pairs, side, "assistant")) for side in ("chosen", "rejected"))
    made = []
    for i in flat:
        start = int((chosen[i].weights > 0).argmax())
        own = {"prompt_ids": chosen[i].ids[:start].tolist(), "ref_chosen_logps": -90.0, "ref_rejected_logps": -95.0}
        made.append(own | {"chosen_ids": chosen[i].ids[start:].tolist(), "rejected_ids": rejected[i].ids[start:].tolist()})
    (folder / "dpo.json").write_text(json.dumps(made))


def work(folder: Path, kind: str, size: dict[str, int], steps: int, way: str) -> None:
    """One way in this process; its last line says loss and peak memory in MiB."""
    import torch

    torch.set_num_threads(1)
    loss = plain(folder, kind, size, steps) if way == "trl" else ours(folder, kind, size, steps, way)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(MARK + json.dumps({"loss": loss, "peak": peak}), flush=True)


class Worker:
    """A process that trains one way, a turn at a time."""

    def __init__(self, folder: Path, kind: str, size: str, steps: int, way: str) -> None:
        command = [sys.executable, __file__, "--work", json.dumps([str(folder), kind, size, steps, way])]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.next()

    def next(self) -> dict[str, float]:
        """What it says of the turn that ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        raise RuntimeError(f"a worker ended with {self.process.wait()}")

    def turn(self) -> dict[str, float]:
        """Lets it train for a turn."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.next()


def measure(folder: Path, kind: str, size: str, blocks: int) -> None:
    """All ways of one kind and size, turn by turn."""
    turn, steps = SIZES[size]["turn"], (blocks + 2) * SIZES[size]["turn"]
    workers = {way: Worker(folder, kind, size, steps, way) for way in WAYS}
    turns: list[dict[str, dict[str, float]]] = []
    for i in range(blocks + 2):
        names = WAYS if i % 2 else WAYS[::-1]
        turns.append({way: workers[way].turn() for way in names})
    ends = turns.pop()  # the last turn's line has the loss
    parameters = json.loads((folder / "size.json").read_text())["parameters"]
    print(f"{kind}, {size}: {parameters:,} parameters, {SIZES[size]['rows']} rows a step, {len(turns) - 1} turns of {turn} steps")
    for way in WAYS:
        measured = turns[1:]  # the first one warms up
        speed = {clock: turn / statistics.median(one[way][clock] for one in measured) for clock in ("wall", "cpu")}
        ratio = {clock: statistics.median(one["trl"][clock] / one[way][clock] for one in measured) for clock in ("wall", "cpu")}
        memory = ends[way]["peak"] / ends["trl"]["peak"]
        print(
            f"  {way:<12} steps/s {speed['wall']:8.2f}  x{ratio['wall']:.3f}   by CPU time {speed['cpu']:8.2f}  x{ratio['cpu']:.3f}   "
            f"peak {ends[way]['peak']:6.0f} MiB  x{memory:.3f}   mean loss {ends[way]['loss']:.5f}",
            flush=True,
        )
    for worker in workers.values():
        worker.process.communicate()


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="small,large")
    parser.add_argument("--kinds", default="sft,dpo")
    parser.add_argument("--blocks", type=int, default=10, help="measured turns of each way")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        folder, kind, size, steps, way = json.loads(args.work)
        work(Path(folder), kind, SIZES[size], steps, way)
        return
    for size in args.sizes.split(","):
        with tempfile.TemporaryDirectory() as name:
            folder, steps = Path(name), (args.blocks + 2) * SIZES[size]["turn"]
            prepare(folder, SIZES[size], steps)
            tokens(folder, SIZES[size], steps)
            for kind in args.kinds.split(","):
                measure(folder, kind, size, args.blocks)


if __name__ == "__main__":
    main()
