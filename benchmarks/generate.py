"""The backend `transformers` beside plain `model.generate` and transformers' own continuous batching, on one CPU thread.

    python benchmarks/generate.py MODEL PROMPTS.jsonl [--sizes 32 128 512] [--prompts 1024] [--samples 8] [--repeats 5]

MODEL: a folder, best the quickstart's base (`rondo init quickstart`, `rondo run quickstart --until base`: checkpoints/DIGEST), whose
answers end at different lengths. PROMPTS: its train.jsonl. Every way answers the same prompts, in the file's order, `size` answers
together; ours sorts them itself. Greedy answers (one a prompt) must be the same token ids in every way. The sampled run draws
`samples` answers a prompt at temperature 1, where ours shares the prompt's pass and generate_batch shares its prefix cache as it
sees fit; lengths then differ by chance. Ways take turns; medians over the turns, tokens a second (end token included), ratio to
`generate`. `cpu`: the same by CPU seconds of the process, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from engine import models
from engine.generate.decoding import attention
from engine.generate.decoding.decode import Decoder
from engine.generate.decoding.running import Question
from engine.generate.decoding.sampler import Sampling
from engine.randomness import row_keys
from engine.step import Device

CPU = Device("cpu", 1, "float32")
TEMPLATE = "Question: {}\nSolution:"
Answers = list[list[int]]  # token ids, prompt by prompt and sample by sample


class Plain:
    """`model.generate` on batches in the given order, `samples` answers a prompt."""

    def __init__(self, folder: Path, most: int, end: int) -> None:
        self.model, _ = models.load(folder, CPU)
        self.most, self.end = most, end

    def __call__(self, prompts: Answers, size: int, samples: int) -> Answers:
        found: Answers = []
        how = {"do_sample": False} if samples == 1 else {"do_sample": True, "temperature": 1.0, "top_k": 0, "num_return_sequences": samples}
        for start in range(0, len(prompts), size // samples):
            batch = prompts[start : start + size // samples]
            width = max(map(len, batch))
            ids = torch.tensor([[0] * (width - len(one)) + one for one in batch])
            mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in batch])
            out = self.model.generate(ids, attention_mask=mask, max_new_tokens=self.most, pad_token_id=0, **how)
            for row in out[:, width:].tolist():
                found.append(row[: row.index(self.end) + 1] if self.end in row else row)
        return found


class Paged(Plain):
    """`model.generate_batch`: continuous batching of transformers."""

    def __call__(self, prompts: Answers, size: int, samples: int) -> Answers:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        how = GenerationConfig(
            max_new_tokens=self.most, do_sample=samples > 1, temperature=1.0, top_k=0, eos_token_id=self.end, pad_token_id=0
        )
        blocks = ContinuousBatchingConfig(num_blocks=max(256, size * 4), max_batch_tokens=max(256, size))
        asked = [one for one in prompts for _ in range(samples)]
        made = self.model.generate_batch(asked, generation_config=how, continuous_batching_config=blocks, progress_bar=False)
        ordered = sorted(made.values(), key=lambda one: int(str(one.request_id).rsplit("_", 1)[-1]))
        return [list(one.generated_tokens) for one in ordered]


class Ours(Plain):
    """The decoder of the backend, longest prompts first."""

    way = "auto"

    def __init__(self, folder: Path, most: int, end: int, way: str) -> None:
        super().__init__(folder, most, end)
        attention.use(self.model)
        self.way = way

    def __call__(self, prompts: Answers, size: int, samples: int) -> Answers:
        order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
        keys = row_keys(0, 0, "bench", map(str, range(len(prompts) * samples))).reshape(-1, samples)
        how = Sampling(0.0 if samples == 1 else 1.0)
        found: Answers = [[] for _ in range(len(prompts) * samples)]
        decoder = Decoder(self.model, {self.end}, None, size, self.way)
        for ended in decoder.decode([Question(prompts[row], keys[row], how, self.most) for row in order]):
            for answer in ended:
                found[order[answer.question] * samples + answer.sample] = answer.tokens.tolist()
        return found


def compare(ways: dict[str, Callable[..., Answers]], prompts: Answers, size: int, samples: int, repeats: int) -> None:
    """Prints a line for each way."""
    times: dict[str, list[tuple[float, float, int]]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        answers = {}
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            answers[name] = way(prompts, size, samples)
            spent = time.perf_counter() - wall, time.process_time() - cpu
            if turn:  # the first turn warms up
                times[name].append((*spent, sum(map(len, answers[name]))))
        if samples == 1:
            for name, found in answers.items():
                assert found == answers["generate"], (
                    f"{name}: {sum(a != b for a, b in zip(found, answers['generate'], strict=True))} answers differ"
                )
    lengths = np.percentile([len(one) for one in answers["generate"]], [0, 25, 50, 75, 100]).astype(int)
    what = "greedy, the same token ids in every way" if samples == 1 else f"{samples} samples a prompt"
    print(f"\n{size} answers together, {len(prompts)} prompts, {what}; lengths {'/'.join(map(str, lengths))} (quartiles)")
    rates = {name: (median(t / w for w, _, t in own), median(t / c for _, c, t in own)) for name, own in times.items()}
    base = rates["generate"]
    for name, (wall, cpu) in rates.items():
        print(f"  {name:<24}{wall:>9.0f} tokens/s {wall / base[0]:>6.2f}x    cpu {cpu:>9.0f} tokens/s {cpu / base[1]:>6.2f}x")


def main() -> None:
    """Reads the arguments and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("prompts_file", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--prompts", type=int, default=1024)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--most", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--without-paged", action="store_true", help="leave generate_batch out, which takes long")
    given = parser.parse_args()
    tokenizer = models.load_tokenizer(given.model)
    rows = [json.loads(line) for line in given.prompts_file.read_text().splitlines()[: given.prompts]]
    prompts = tokenizer([TEMPLATE.format(row["question"]) for row in rows])["input_ids"]
    end = tokenizer.eos_token_id
    ways: dict[str, Callable[..., Answers]] = {"generate": Plain(given.model, given.most, end)}
    ways |= {f"rondo, {way}": Ours(given.model, given.most, end, way) for way in ("static", "continuous", "auto")}
    if not given.without_paged:
        ways["generate_batch"] = Paged(given.model, given.most, end)
    for samples in dict.fromkeys([1, given.samples]):
        for size in given.sizes:
            compare(ways, prompts if samples == 1 else prompts[: max(size, len(prompts) // samples)], size, samples, given.repeats)


if __name__ == "__main__":
    main()
