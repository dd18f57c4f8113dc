"""Decodes answers with a causal language model of transformers.

Prompts are padded on the left and go through the model once, whatever the number of their answers; the key-value cache is
repeated for those, every answer draws from its own stream of random numbers, and finished answers leave. With continuous
batching waiting prompts take their places (Yu et al., "Orca", OSDI 2022), else they wait until the batch is empty. A row's
tokens do not depend on the batch: draws that the rounding of a batch could change are made again from the row alone (see
`engine.generate.decoding.sampler`).
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from engine.errors import ModelError
from engine.generate.decoding import attention, lean, memory
from engine.generate.decoding.batching import Batching, Way
from engine.generate.decoding.cache import RoomyCache
from engine.generate.decoding.running import Answer, Question, Rows
from engine.generate.decoding.sampler import Draws, Sampling, draw, draw_each
from engine.generate.decoding.stops import Stops
from engine.generate.decoding.waiting import Share, Waiting
from engine.randomness import uniforms

SHRINK = 0.8  # dead rows leave once the live ones are at most this share of the batch, and nobody takes their place
STEP_NOISE = 2e-6  # nats that a token's log-probability may differ by between batches (largest measured: 1.5e-6)
DECIMALS = 2


class Decoder:
    """A model with the settings of one step: `size` answers run together (it falls where memory is not enough)."""

    def __init__(self, model: PreTrainedModel, ends: Collection[int], stops: Stops | None, size: int, way: Way = "auto") -> None:
        self.model, self.stops, self.size = model, stops, size
        self._is_end = np.zeros(max([model.config.get_text_config().vocab_size, *(end + 1 for end in ends)]), dtype=bool)
        self._is_end[list(ends)] = True
        self._accepts = set(inspect.signature(model.forward).parameters)
        # In half precision a batch's rounding is too large to draw again; there rows may differ between batch sizes.
        self._exact = model.dtype in (torch.float32, torch.float64)
        self.roomy = RoomyCache(model).roomy
        own = self.roomy and attention.used(model)
        self._lean, self._takes_mask = lean.of(model) if own else None, own
        if way == "auto" and not self._exact:
            way = "continuous"  # a choice by the clock would change rows
        self.batching = Batching(way if self.roomy else "static")

    @torch.inference_mode()
    def decode(self, questions: Sequence[Question]) -> Iterator[list[Answer]]:
        """Each question's answers, once, some at a time as they end. ModelError where memory does not hold a single one."""
        self._questions = questions
        self._hows = list(dict.fromkeys(question.how for question in questions))
        self._most = max((question.limit for question in questions), default=0)
        self._waiting = Waiting(questions)
        self._rows: Rows | None = None
        self._cache: RoomyCache | None = None
        self._joining: list[Share] = []
        self.batching.begins(sum(len(question.keys) for question in questions), self.size)
        while self._waiting or self._rows is not None:
            full = None
            try:
                ended = self._step()
            except (RuntimeError, MemoryError) as error:
                if not memory.is_full(error):
                    raise
                full = str(error)
            if full is None:
                yield ended
            else:  # only here does nothing hold the tensors of the failed step any more
                self._smaller(full)

    def _step(self) -> list[Answer]:
        """Lets prompts join, or draws a token for every live row; the answers that end with it."""
        rows, waiting = self._rows, bool(self._waiting)
        if self.batching.due(0 if rows is None else int(rows.live.sum()), 0 if rows is None else len(rows), waiting):
            taken = self._waiting.take(self.size if rows is None else int((~rows.live).sum()), rows is None)
            if taken:
                return self._join(taken)
        assert rows is not None and self._cache is not None
        live = np.flatnonzero(rows.live)
        if not waiting and len(live) <= SHRINK * len(rows):
            self._cache.reorder_cache(torch.from_numpy(live).to(self.model.device))
            rows.keep(live)
        return self._drawn(rows, self._next(rows))

    def _join(self, taken: list[Share]) -> list[Answer]:
        """Runs the prompts, draws their first tokens, and makes them the running batch or a part of it."""
        self._joining, rows = taken, self._rows
        self.batching.joins(sum(count for *_, count in taken), bool(self._waiting), rows is None)
        new = Rows(self._questions, taken, {how: number for number, how in enumerate(self._hows)}, self._most)
        cache, logits = self._prefill([self._questions[number].prompt for number, *_ in taken])
        of = np.repeat(np.arange(len(taken)), [count for *_, count in taken])
        repeat = torch.from_numpy(of).to(self.model.device)
        ended = self._drawn(new, logits[repeat] if len(of) > len(taken) else logits, held=rows)
        if rows is None:
            if len(of) > len(taken):
                cache.reorder_cache(repeat)
            self._rows, self._cache = (new, cache) if new.live.any() else (None, None)
        elif new.live.any():
            assert self._cache is not None
            chosen = np.flatnonzero(new.live)
            free = np.flatnonzero(~rows.live)[: len(chosen)]
            self._cache.join(cache, repeat[torch.from_numpy(chosen).to(repeat.device)], torch.from_numpy(free).to(repeat.device))
            rows.replace(free, new, chosen)
        self._joining = []
        return ended

    def _prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[RoomyCache, torch.Tensor]:
        """One pass over prompts, left padded: their cache and the logits after each."""
        device, width = self.model.device, max(map(len, prompts))
        lengths = np.array([len(prompt) for prompt in prompts])
        ids = np.zeros((len(prompts), width), dtype=np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = prompt
        real = np.arange(width) >= (width - lengths)[:, None]
        # Without padding no mask is given: attention then takes its fastest path.
        mask = None if real.all() else torch.from_numpy(real.astype(np.int64)).to(device)
        positions = torch.from_numpy(np.maximum(real.cumsum(axis=1) - 1, 0)).to(device)
        cache = RoomyCache(self.model)
        return cache, self._forward(torch.from_numpy(ids).to(device), mask, positions, cache)

    def _next(self, rows: Rows) -> torch.Tensor:
        """Logits after each row's last token."""
        rows.lengths[rows.live] += 1
        cache, device = self._cache, self.model.device
        assert cache is not None
        width = int(rows.lengths.max())
        if self.roomy:
            cache.trim(width - 1)
        else:
            width = cache.get_seq_length() + 1
        mask = None
        if int(rows.lengths.min()) < width:
            seen = torch.from_numpy(np.arange(width) >= (width - rows.lengths)[:, None]).to(device)
            # our own attention takes the mask as it is; others have theirs made by the model
            mask = seen[:, None, None] if self._takes_mask else seen.long()
        given = torch.from_numpy(np.stack([rows.last, rows.lengths - 1])).to(device)
        return self._forward(given[0].unsqueeze(1), mask, given[1].unsqueeze(1), cache)

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor, cache: RoomyCache | None, every: bool = False
    ) -> torch.Tensor:
        """Logits of the last position of each row, or with `every` of every position of the only row."""
        if self._lean is not None and cache is not None:
            return self._lean(ids, mask, positions, cache)
        given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache, "use_cache": cache is not None}
        if "position_ids" in self._accepts:
            given["position_ids"] = positions
        if "logits_to_keep" in self._accepts and not every:
            given["logits_to_keep"] = 1
        logits = self.model(**given).logits
        return logits[0] if every else logits[:, -1]

    def _drawn(self, rows: Rows, logits: torch.Tensor, held: Rows | None = None) -> list[Answer]:
        """Every live row draws a token; the answers that end. `held`: rows that run beside these."""
        live = np.flatnonzero(rows.live)
        hows = [self._hows[number] for number in rows.hows.tolist()] if len(self._hows) > 1 else self._hows
        got = draw_each(logits, self._uniforms(rows.keys, rows.counts, hows, logits.device), hows)
        tokens, logps, sure = got.tokens.cpu().numpy(), got.logprobs.cpu().numpy(), got.sure.cpu().numpy()
        if self._exact:
            for row in live[~sure[live]].tolist():
                again = self._draw_alone(rows, row)
                tokens[row], logps[row] = int(again.tokens[0]), float(again.logprobs[0])
        rows.add(tokens, logps)
        done, stopped = self._ended(rows, live)
        answers = [self._answer(rows, row, by_itself) for row, by_itself in zip(done.tolist(), stopped.tolist(), strict=True)]
        rows.end(done)
        left = len(live) - len(done) + (0 if held is None else int(held.live.sum()))
        if not left:
            self._rows = self._cache = None
        self.batching.drew(len(live), [len(answer.tokens) for answer in answers], left)
        return answers

    def _uniforms(self, keys: np.ndarray, counts: np.ndarray, hows: Sequence[Sampling], device: torch.device) -> torch.Tensor:
        if all(how.greedy for how in hows):
            return torch.zeros(len(keys), dtype=torch.float64, device=device)
        return torch.from_numpy(uniforms(keys, counts)).to(device)

    def _alone(self, question: int, tokens: np.ndarray) -> torch.Tensor:
        """Logits (tokens + 1, vocabulary) after a question's prompt and after each of `tokens`, from a batch of its own."""
        prompt = self._questions[question].prompt
        ids = torch.tensor([[*prompt, *tokens.tolist()]], device=self.model.device)
        positions = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
        return self._forward(ids, None, positions, None, every=True)[len(prompt) - 1 :]

    def _draw_alone(self, rows: Rows, row: int) -> Draws:
        count, how = int(rows.counts[row]), self._hows[int(rows.hows[row])]
        logits = self._alone(int(rows.question[row]), rows.tokens[row, :count])[-1:]
        uniform = self._uniforms(rows.keys[row : row + 1], rows.counts[row : row + 1], [how], logits.device)
        return draw(logits, uniform, how, noise=0.0)

    def _ended(self, rows: Rows, live: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows that end with the token just drawn, and which of them by themselves."""
        tokens = rows.last[live]
        stopped = self._is_end[tokens]
        if self.stops:
            for at in np.flatnonzero(~stopped & self.stops.may_end(tokens)).tolist():
                stopped[at] = self.stops.found(rows.tokens[live[at], : rows.counts[live[at]]])
        done = stopped | (rows.counts[live] >= rows.limits[live])
        return live[done], stopped[done]

    def _answer(self, rows: Rows, row: int, stopped: bool) -> Answer:
        count, question = int(rows.counts[row]), int(rows.question[row])
        tokens, logps = rows.tokens[row, :count].copy(), rows.logprobs[row, :count].copy()
        return Answer(question, int(rows.sample[row]), tokens, logps, self._rounded(question, tokens, float(logps.sum())), stopped)

    def _rounded(self, question: int, tokens: np.ndarray, value: float) -> float:
        """The summed log-probability, rounded; where noise could round it the other way, summed anew from the row alone."""
        if self._exact:
            scaled = value * 10**DECIMALS
            if abs(scaled - np.floor(scaled) - 0.5) < STEP_NOISE * len(tokens) * 10**DECIMALS:
                logps = self._alone(question, tokens[:-1]).double().log_softmax(dim=1)
                value = logps.gather(1, torch.from_numpy(tokens).to(logps.device).unsqueeze(1)).sum().item()
        return round(value, DECIMALS) + 0.0

    def _smaller(self, reason: str) -> None:
        """Half as many answers from now on; those that were running begin again. ModelError where it was only one."""
        rows = self._rows
        begun = [(number, sample) for number, first, count in self._joining for sample in range(first, first + count)]
        if rows is not None:
            live = np.flatnonzero(rows.live)
            begun += zip(rows.question[live].tolist(), rows.sample[live].tolist(), strict=True)
        self._rows = self._cache = None
        self._joining = []
        memory.release(self.model.device)
        if len(begun) == 1:
            raise ModelError(
                f"memory does not hold one answer: {reason.strip().splitlines()[0]}",
                where=str(self.model.name_or_path),
                hint="lower max_tokens, shorten or drop the longest prompts, take a smaller model, or compute.dtype bfloat16",
            )
        self.size = len(begun) // 2
        self.batching.interrupted()
        self._waiting.back(begun)
