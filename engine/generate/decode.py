"""Decodes K answers a prompt with a causal language model of transformers.

A batch of prompts is padded on the left and goes through the model once; its key-value cache is then repeated for
the K answers, every answer draws from its own stream of random numbers, and finished answers leave the running
batch. A row's tokens do not depend on the batch: draws that the rounding of a batch could change are made again
from the row alone (see `engine.generate.sampler`).
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from engine.generate.cache import roomy_cache
from engine.generate.sampler import Draws, Sampling, draw
from engine.generate.stops import Stops
from engine.randomness import uniforms

SHRINK = 0.8  # finished answers leave once the running batch is at most this share of what it was
STEP_NOISE = 2e-6  # nats that a token's log-probability may differ by between batches (largest measured: 1.5e-6)
DECIMALS = 2


@dataclass
class Answer:
    """One sampled answer: its tokens without the end token, all that were drawn, and why it ended."""

    tokens: list[int]
    drawn: int
    logprob: float
    stopped: bool


@dataclass
class _Rows:
    """The running batch: which answer each row is, and how many real tokens its prompt has."""

    index: np.ndarray
    lengths: torch.Tensor
    mask: torch.Tensor | None

    def take(self, keep: np.ndarray, rows: torch.Tensor) -> _Rows:
        return _Rows(self.index[keep], self.lengths[rows], None if self.mask is None else self.mask[rows])


class Decoder:
    """A model with the settings of one step; `decode` answers a batch of prompts."""

    def __init__(self, model: PreTrainedModel, how: Sampling, max_tokens: int, ends: Collection[int], stops: Stops | None) -> None:
        self.model, self.how, self.max_tokens, self.stops = model, how, max_tokens, stops
        self.ends = np.array(sorted(ends), dtype=np.int64)
        self._accepts = set(inspect.signature(model.forward).parameters)
        # In half precision a batch's rounding is too large to draw again; there rows may differ between batch sizes.
        self._exact = model.dtype in (torch.float32, torch.float64)

    @torch.inference_mode()
    def decode(
        self, prompts: Sequence[Sequence[int]], samples: int | Sequence[int], keys: np.ndarray, limits: Sequence[int]
    ) -> list[Answer]:
        """`samples` answers (a number, or one for each prompt) to each prompt (token ids, not empty), prompt by prompt.

        `keys` (one an answer) are the answers' random streams; `limits` the most tokens for each prompt's answers.
        """
        self._of = np.repeat(np.arange(len(prompts)), samples)  # the prompt of each answer
        n = len(self._of)
        self._prompts, self._keys = prompts, keys
        self._limits = np.minimum(limits, self.max_tokens)[self._of]
        self._out = np.zeros((n, int(self._limits.max())), dtype=np.int64)
        self._logps, self._count, self._stopped = np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
        rows, cache, logits = self._prefill()
        active, step = np.ones(n, dtype=bool), 0
        while True:
            tokens = self._draw(rows, logits, step, active)
            active &= ~self._finished(rows, tokens, step, active)
            step += 1
            left = int(active.sum())
            if not left:
                return self._answers()
            if left <= SHRINK * len(active):
                keep = np.flatnonzero(active)
                chosen = torch.from_numpy(keep).to(self.model.device)
                cache.reorder_cache(chosen)
                rows, tokens, active = rows.take(keep, chosen), tokens[keep], np.ones(left, dtype=bool)
            logits = self._next(rows, tokens, cache, step)

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor, cache: DynamicCache | None, every: bool = False
    ) -> torch.Tensor:
        """Logits of the last position of each row, or with `every` of every position of the only row."""
        given = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache, "use_cache": cache is not None}
        if "position_ids" in self._accepts:
            given["position_ids"] = positions
        if "logits_to_keep" in self._accepts and not every:
            given["logits_to_keep"] = 1
        logits = self.model(**given).logits
        return logits[0] if every else logits[:, -1]

    def _prefill(self) -> tuple[_Rows, DynamicCache, torch.Tensor]:
        """One pass over the prompts, left padded; then a row for each answer."""
        device, width = self.model.device, max(map(len, self._prompts))
        lengths = np.array([len(p) for p in self._prompts])
        ids = np.zeros((len(lengths), width), dtype=np.int64)
        for row, prompt in enumerate(self._prompts):
            ids[row, width - len(prompt) :] = prompt
        real = np.arange(width) >= (width - lengths)[:, None]
        # Without padding no mask is given: attention then takes its fastest path.
        mask = None if real.all() else torch.from_numpy(real.astype(np.int64)).to(device)
        positions = torch.from_numpy(np.maximum(real.cumsum(axis=1) - 1, 0)).to(device)
        cache = roomy_cache(self.model)
        logits = self._forward(torch.from_numpy(ids).to(device), mask, positions, cache)
        repeat = torch.from_numpy(self._of).to(device)
        if len(self._of) > len(lengths):
            cache.reorder_cache(repeat)
        rows = _Rows(np.arange(len(self._of)), torch.from_numpy(lengths).to(device)[repeat], None if mask is None else mask[repeat])
        return rows, cache, logits[repeat]

    def _next(self, rows: _Rows, tokens: np.ndarray, cache: DynamicCache, step: int) -> torch.Tensor:
        ids = torch.from_numpy(tokens).to(self.model.device).unsqueeze(1)
        if rows.mask is not None:
            rows.mask = torch.cat([rows.mask, rows.mask.new_ones((len(tokens), 1))], dim=1)
        return self._forward(ids, rows.mask, (rows.lengths + (step - 1)).unsqueeze(1), cache)

    def _uniforms(self, index: np.ndarray, step: int, device: torch.device) -> torch.Tensor:
        if self.how.greedy:
            return torch.zeros(len(index), dtype=torch.float64, device=device)
        return torch.from_numpy(uniforms(self._keys[index], step)).to(device)

    def _draw(self, rows: _Rows, logits: torch.Tensor, step: int, active: np.ndarray) -> np.ndarray:
        """The rows' tokens number `step`; their log-probabilities are added up."""
        got = draw(logits, self._uniforms(rows.index, step, logits.device), self.how)
        tokens, logps = got.tokens.cpu().numpy(), got.logprobs.cpu().numpy()
        if self._exact:
            for row in np.flatnonzero(active & ~got.sure.cpu().numpy()):
                again = self._draw_alone(int(rows.index[row]), step)
                tokens[row], logps[row] = int(again.tokens[0]), float(again.logprobs[0])
        index = rows.index[active]
        self._out[index, step] = tokens[active]
        self._logps[index] += logps[active]
        return tokens

    def _alone(self, answer: int, tokens: np.ndarray) -> torch.Tensor:
        """Logits (tokens + 1, vocabulary) after an answer's prompt and after each of its `tokens`, from a batch of its own."""
        prompt = self._prompts[self._of[answer]]
        ids = torch.tensor([[*prompt, *tokens.tolist()]], device=self.model.device)
        positions = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
        return self._forward(ids, None, positions, None, every=True)[len(prompt) - 1 :]

    def _draw_alone(self, answer: int, step: int) -> Draws:
        logits = self._alone(answer, self._out[answer, :step])[-1:]
        return draw(logits, self._uniforms(np.array([answer]), step, logits.device), self.how, noise=0.0)

    def _finished(self, rows: _Rows, tokens: np.ndarray, step: int, active: np.ndarray) -> np.ndarray:
        """Which rows have ended with the token just drawn."""
        stopped = np.isin(tokens, self.ends)
        if self.stops:
            for row in np.flatnonzero(active & ~stopped & self.stops.may_end(tokens)):
                stopped[row] = self.stops.found(self._out[rows.index[row], : step + 1])
        done = active & (stopped | (step + 1 >= self._limits[rows.index]))
        index = rows.index[done]
        self._count[index], self._stopped[index] = step + 1, stopped[done]
        return done

    def _answers(self) -> list[Answer]:
        answers = []
        for i in range(len(self._count)):
            drawn = self._out[i, : self._count[i]]
            ended = len(drawn) and drawn[-1] in self.ends
            logprob = self._rounded(i, drawn)
            answers.append(Answer(drawn[:-1].tolist() if ended else drawn.tolist(), len(drawn), logprob, bool(self._stopped[i])))
        return answers

    def _rounded(self, answer: int, drawn: np.ndarray) -> float:
        """The summed log-probability, rounded; where noise could round it the other way, summed anew from the row alone."""
        value = self._logps[answer]
        if self._exact:
            scaled = value * 10**DECIMALS
            if abs(scaled - np.floor(scaled) - 0.5) < STEP_NOISE * len(drawn) * 10**DECIMALS:
                logps = self._alone(answer, drawn[:-1]).double().log_softmax(dim=1)
                value = logps.gather(1, torch.from_numpy(drawn).to(logps.device).unsqueeze(1)).sum().item()
        return round(float(value), DECIMALS) + 0.0
