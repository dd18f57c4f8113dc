"""One online training: which prompts are answered when, what the answers are worth, and the tables of what was sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine import models
from engine.errors import StepError
from engine.generate import Job as Asking
from engine.generate.transformers import TransformersParams
from engine.step import Context, Model
from engine.train import Job, Trained
from engine.train.log import Log
from engine.train.online import OnlineObjective, worth
from engine.train.online.blocks import Schedule, schedule
from engine.train.online.live import Live
from engine.train.online.results import told
from engine.train.online.rollouts import Group, Rollouts
from engine.train.order import plan
from engine.train.running import Running
from engine.train.state import Consumed

if TYPE_CHECKING:
    from torch import Tensor

    from engine.train.online.tensors import Answers
    from engine.train.online.trainer import OnlineTrainer


@dataclass
class Held:
    """A batch on the device while its block trains: tensors, and log-probabilities of its tokens under the weights that sampled them
    and under the reference, where they are needed, (rows, longest answer)."""

    group: Group
    answers: Answers
    old: Tensor | None
    reference: Tensor | None


class Online:
    """What a trainer asks for: the parts of a batch, made of answers that are sampled when their block begins."""

    def __init__(self, job: Job, objective: OnlineObjective) -> None:
        assert job.ctx is not None
        self.job, self.objective, self.ctx = job, objective, job.ctx
        self.params, self.running = objective.params, Running(job)
        self.sampler = objective.sampler(self.ctx.spec)
        self.live = Live(self._asking(self.ctx), self.running.model, self.running.tokenizer)
        self._fits()
        self.schedule = self._schedule()
        self.rollouts = Rollouts(self.ctx, self.live, job.rows, self.schedule, job.label)
        self._prompts = self.live.prompt_tokens(job.rows["messages"].to_pylist())
        self._held: dict[int, Held] = {}
        self._block = -1
        self.trainer: OnlineTrainer | None = None

    def _asking(self, ctx: Context) -> Asking:
        job = self.job
        return Asking(
            params=TransformersParams(),
            sampler=self.sampler,
            samples=self.objective.samples(ctx.spec),
            chat=job.chat,
            model=Model(models.digest(job.model), job.model),
            device=job.device,
            seed=job.seed,
            round=job.round,
            step=job.label,
            trust_remote_code=job.trust_remote_code,
            spec_path=ctx.spec_path,
            actor=job.settings.role,
            keep_tokens=True,
            batch=ctx.spec.generate.batch,
            how={"training": ctx.fingerprint},
        )

    def _fits(self) -> None:
        """StepError, before anything is sampled, where an answer could make a row that is too long."""
        prompt, tokens = self.live.longest(self.job.rows)
        if tokens > self.job.settings.max_length:
            raise StepError(
                f"prompt {prompt} and its longest answer may have {tokens} tokens, allowed are {self.job.settings.max_length}",
                where=f"train, role {self.job.settings.role}",
                hint="raise train.max_length, or lower max_tokens in generate or in train.params",
            )

    def _schedule(self) -> Schedule:
        job, how, given = self.job, self.job.settings, self.params
        most = how.max_steps and -(-how.max_steps // (given.iterations * given.together)) * given.together
        ids = job.rows["prompt_id"].to_pylist()
        batches = plan(ids, batch_size=how.batch_size, epochs=how.epochs, max_steps=most, seed=job.seed, round_=job.round)
        return schedule(
            batches, samples=self.live.job.samples, together=given.together, iterations=given.iterations, max_steps=how.max_steps
        )

    @property
    def beta_of_loss(self) -> float:
        """The weight of the divergence in the loss."""
        return self.params.beta if self.objective.penalty == "loss" else 0.0

    @property
    def _keeps_old(self) -> bool:
        """Whether the weights move between sampling and a step on the answers, or the loss wants the values before it anyway."""
        return self.objective.penalty == "reward" or self.params.iterations > 1 or self.params.together > 1

    def arguments(self) -> dict[str, Any]:
        """Arguments of TRL's online configs."""
        return self.running.arguments() | {
            "num_generations": 2,  # TRL wants whole groups in its own generation batch; ours come whole
            "steps_per_generation": 2,
            "max_completion_length": self.sampler.max_tokens,
            "temperature": self.sampler.temperature,
            "top_p": self.sampler.top_p,
            "top_k": self.sampler.top_k,
            "beta": 0.0,
            "epsilon": self.params.epsilon,
            "epsilon_high": self.params.epsilon_high,
            "disable_dropout": True,
        }

    def make(self, consumed: Consumed, log: Log) -> OnlineTrainer:
        """The trainer, and beside it the reference where one counts."""
        job, reference = self.job, None
        if self.objective.compares == "model":
            assert job.reference is not None
            reference, _ = models.load(job.reference, job.device, job.trust_remote_code)
        made = self.running.built(self.objective.trainer(), self.objective.config(self), consumed, log, online=self, reference=reference)
        self.trainer = made
        return made

    def parts(self, trainer: OnlineTrainer, number: int) -> list[dict[str, Any]]:
        """What the trainer takes of batch `number`, as TRL's losses name it: `micro_batch` answers at a time."""
        import torch

        held = self._batch(trainer, number)
        group, whole, rows = held.group, held.answers, held.group.batch.answers
        size = self.job.settings.micro_batch or rows
        trained = whole.completion_mask.sum()
        advantages = torch.tensor(group.advantages, dtype=torch.float32, device=trained.device)
        facts, found = self._facts(held), []
        for start in range(0, rows, size):
            piece = slice(start, start + size)
            answers = whole.rows(piece)
            width, answered = answers.completion_ids.shape[1], len(answers.completion_ids) / rows
            tokens = (answers.completion_mask.sum() / trained.clamp(min=1)).item()
            inputs: dict[str, Any] = answers.inputs() | {"advantages": advantages[piece], "num_items_in_batch": trained}
            if held.old is not None:
                old = held.old[piece, :width]
                own = {"old_per_token_logps": old} if self.objective.penalty == "loss" else {}
                inputs |= own or {"old_logps": (old * answers.completion_mask).sum(1)}
            if held.reference is not None and self.beta_of_loss:
                inputs["ref_per_token_logps"] = held.reference[piece, :width]
            share = {"answers": answered, "tokens": tokens, "whole": 1.0}[self._share]
            found.append(inputs | {"batch": number, "share": share, "shares": self._shares(answered, tokens), "numbers": facts})
            facts = {}  # of the whole batch: they count once
        return found

    @property
    def _share(self) -> str:
        """What a part's loss is a share of: TRL's mean over answers, over tokens, or a sum over what the whole batch has."""
        return {"bnpo": "tokens", "dapo": "whole"}.get(getattr(self.params, "loss", ""), "answers")

    def _shares(self, answers: float, tokens: float) -> Mapping[str, float]:
        by_answer = self.objective.penalty == "reward" or getattr(self.params, "ratio", "token") == "sequence"
        return {"clip": answers if by_answer else tokens, "other": tokens}

    def _batch(self, trainer: OnlineTrainer, number: int) -> Held:
        """A batch's answers and tensors; begins its block where this is the first of it."""
        at, place = self.schedule.steps[number]
        block = self.schedule.blocks[at]
        if at != self._block:
            self.rollouts.forget(self._block)
            self._held, self._block = {}, at
        groups = self.rollouts.groups(block, lambda found: self._learn(trainer, found))
        if place not in self._held:
            group = groups[place]
            answers = self._tensors(trainer, group)
            old = None
            if group.old is not None:
                from engine.train.online.tensors import padded

                old = padded(group.old, answers.completion_ids.shape[1], answers.ids.device)
            self._held[place] = Held(group, answers, old, self._reference(trainer, answers))
        return self._held[place]

    def _tensors(self, trainer: OnlineTrainer, group: Group) -> Answers:
        from engine.train.online.tensors import answers

        prompts = [self._prompts[row] for row, numbers in zip(group.batch.prompts, group.batch.samples, strict=True) for _ in numbers]
        drawn = [row["tokens"] for row in group.answers]
        trains = [not self.params.mask_truncated or row["finish_reason"] == "stop" for row in group.answers]
        return answers(prompts, drawn, trains, self.running.pad, trainer.accelerator.device)

    def _logps(self, trainer: OnlineTrainer, model: Any, answers: Answers) -> Tensor:
        """Log-probabilities of the answers' tokens under a model as it is, in nats."""
        import torch

        rows, width = answers.completion_ids.shape
        size, found = self.job.settings.micro_batch or rows, []
        with torch.no_grad():
            for start in range(0, rows, size):
                piece = slice(start, start + size)
                logps, _, _ = trainer._get_per_token_logps_and_entropies(model, answers.ids[piece], answers.mask[piece], width)
                found.append(logps)
        return torch.cat(found)

    def _reference(self, trainer: OnlineTrainer, answers: Answers) -> Tensor | None:
        return None if trainer.ref_model is None else self._logps(trainer, trainer.ref_model, answers)

    def _learn(self, trainer: OnlineTrainer, groups: list[Group]) -> None:
        """Fills in rewards, advantages and the log-probabilities under the weights that sampled the answers."""
        for place, group in enumerate(groups):
            answers, old = self._tensors(trainer, group), None
            reference = self._reference(trainer, answers)
            if self._keeps_old:
                old = self._logps(trainer, trainer.model, answers)
                lengths = [len(row["tokens"]) for row in group.answers]
                group.old = [row[:length] for row, length in zip(old.tolist(), lengths, strict=True)]
            self._held[place] = Held(group, answers, old, reference)
            group.rewards = [worth.reward(row, score, self.params) for row, score in zip(group.answers, group.scores, strict=True)]
            costs = self._divergences(self._held[place]) if self.objective.penalty == "reward" else [0.0] * len(group.answers)
            net = [None if r is None else r - self.params.beta * cost for r, cost in zip(group.rewards, costs, strict=True)]
            group.advantages = [a for own in worth.by_prompt(group.batch, net) for a in self.objective.advantages(own)]

    def _divergences(self, held: Held) -> list[float]:
        """log pi - log pi_ref of each answer, 0 without a reference."""
        if held.reference is None or held.old is None:
            return [0.0] * len(held.group.answers)
        return ((held.old - held.reference) * held.answers.completion_mask).sum(dim=1).tolist()

    def _facts(self, held: Held) -> dict[str, float]:
        """Numbers of a whole batch for the log."""
        found = worth.facts(held.group)
        if self.objective.penalty == "reward" and held.reference is not None:
            found["kl"] = math.fsum(self._divergences(held)) / max(1, int(held.answers.completion_mask.sum()))
        return found


def train(job: Job, objective: OnlineObjective) -> Trained:
    """Trains the model of `job` on answers to its prompts."""
    online = Online(job, objective)
    try:
        ids = job.rows["prompt_id"].to_pylist()
        trained = online.running.train(ids, [0] * len(ids), online.make, online.schedule.plan)
        return told(trained, online.rollouts, online.ctx.spec, job.settings.role, job.label)
    finally:
        online.rollouts.close()
