"""A model with a head to begin with: a classifier as it is, or a language model whose words give way to a new head.

A new head is a linear layer without bias (as transformers has it) on the last token's hidden state, its weights normal with variance
1 / (hidden size + 1), as in Stiennon et al., "Learning to summarize from human feedback", NeurIPS 2020, arXiv 2009.01325; they are
drawn from the seed, the round and the role alone. Loaded only when a training runs.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForSequenceClassification

from engine import models
from engine.errors import ModelError
from engine.train.settings import torch_seed

if TYPE_CHECKING:
    from engine.step import Device
    from engine.train import Job

KIND = "SequenceClassification"


def start(job: Job, device: Device, outputs: Sequence[str]) -> tuple[Any, Any]:
    """The model of `job` with a head of `outputs`, and its tokenizer. ModelError where a head is there with other outputs, or the
    architecture has no classifier."""
    trusted = job.trust_remote_code
    if _has_head(job):
        model, tokenizer = models.load(job.model, device, trusted, kind=KIND, train=True)
        if model.config.num_labels != len(outputs):
            raise ModelError(
                f"the head has {model.config.num_labels} outputs, and {len(outputs)} train ({', '.join(outputs)})",
                where=str(job.model),
                hint="give train.params as many heads, or start from another model",
            )
    else:
        language, tokenizer = models.load(job.model, device, trusted, train=True)
        model = _crowned(language, len(outputs), torch_seed(job.seed, job.round, f"{job.settings.role}/head"), str(job.model))
    model.config.id2label = dict(enumerate(outputs))
    model.config.label2id = {name: i for i, name in enumerate(outputs)}
    return model, tokenizer


def _has_head(job: Job) -> bool:
    file = job.model / "config.json"
    names = json.loads(file.read_text(encoding="utf-8")).get("architectures") if file.is_file() else None
    return any(name.endswith(KIND) for name in names or ())


def _crowned(language: Any, outputs: int, seed: int, where: str) -> Any:
    """The body of a language model under a new head; the weights of the body are not copied."""
    config = copy.deepcopy(language.config)
    config.num_labels, config.architectures = outputs, None
    try:
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:  # transformers says so for an architecture without a classifier
        raise ModelError(
            f"a {config.model_type} has no head for sequences in transformers: {str(error).splitlines()[0][:200]}",
            where=where,
            hint="start from a model of another architecture, or from a folder that is a classifier already",
        ) from error
    setattr(model, model.base_model_prefix, getattr(language, language.base_model_prefix))
    like = next(language.parameters())
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in list(model.named_parameters()):
        if parameter.is_meta:
            drawn = torch.zeros(parameter.shape)
            if parameter.dim() > 1:
                drawn.normal_(0.0, 1 / math.sqrt(parameter.shape[-1] + 1), generator=generator)
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, torch.nn.Parameter(drawn.to(like.device, like.dtype)))
    return model.eval()
