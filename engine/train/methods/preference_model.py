"""Preference models: a classifier that reads a prompt with two answers and says whether the first is better.

    loss = 1/2 [ CE(m(x, y_w, y_l), p) + CE(-m(x, y_l, y_w), p) ],  CE(m, p) = -p log sigma(m) - (1 - p) log sigma(-m)

Both orders of a pair train, so that neither place is learned; m is output `first` less output `second` (the cross-entropy of a head of
two outputs), p the row's `probability` (1 where it has none), moved towards 1/2 by `label_smoothing`. The text is that of
templates.yaml of the comparer `preference_model`, which reads the trained folder as it is. It is the pairwise model of RLHFlow
(arXiv 2405.07863), there a language model's letters, and the estimator of UPO (arXiv 2409.11212): with `dropout` the passes of the
comparer measure its doubt; give the comparer the same rate and `sites`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from engine.parts.part import F
from engine.score import choices, heads
from engine.score.comparers.preference_model import shipped
from engine.train import objectives
from engine.train.heads import HeadObjective, HeadParams, HeadValues, Row, cross_entropy, probability, sides, smoothed

if TYPE_CHECKING:
    from torch import Tensor

    from engine.score.heads.showing import Showing


class Params(HeadParams):
    """Settings of `preference_model`."""

    chat: bool = F(False, "show the text as a user's message by the model's chat template")
    template: str | None = F(None, "a text with {prompt}, {first} and {second}; none: that of the comparer")
    label_smoothing: float = F(0.0, "share of pairs whose label is taken to be wrong", ge=0, lt=0.5)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """What the template must name in braces."""
        return ("prompt", "first", "second")


@objectives.register("preference_model")
class PreferenceModel(HeadObjective):
    """Cross-entropy over the two orders of each of `pairs`."""

    pairwise: ClassVar[bool] = True
    Params = Params

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("first", "second")

    def shown(self, max_length: int) -> heads.Shown:
        """As text, or as a user's message; the text around the answers is this objective's own."""
        return heads.Shown(max_length=max_length, chat=self.params.chat)

    def settings(self, spec: object, round_: int, spec_path: object) -> dict[str, str]:
        """The text around the answers."""
        return {"template": self._template()}

    def texts(self, row: Row, showing: Showing) -> Sequence[str]:
        """The chosen answer first, and the rejected one first."""
        prompt, chosen, rejected = (choices.asked(messages) for messages in sides(row))
        both = [
            choices.filled(self._template(), {"prompt": prompt, "first": first, "second": second})
            for first, second in ((chosen, rejected), (rejected, chosen))
        ]
        return [showing.templated([{"role": "user", "content": text}]) for text in both] if showing.chat else both

    def numbers(self, row: Row) -> dict[str, float]:
        """The probability that the chosen answer is better."""
        return {"probability": probability(row)}

    def loss(self, values: HeadValues) -> Tensor:
        """See the file's formula; log 2 where the head says nothing."""
        share = smoothed(values.numbers["probability"], self.params.label_smoothing)
        return (cross_entropy(self._margin(values, 0), share) + cross_entropy(self._margin(values, 1), share)) / 2

    def logged(self, values: HeadValues) -> dict[str, Tensor]:
        """How often the chosen answer wins, by how much, and how far the model leans to the first place, over both orders."""
        forward, swapped = self._margin(values, 0), self._margin(values, 1)
        right = ((forward > 0).float() + (swapped > 0).float()) / 2
        return {"accuracy": right, "margin": (forward + swapped) / 2, "position_bias": (forward - swapped) / 2}

    def _margin(self, values: HeadValues, order: int) -> Tensor:
        """By how much the head prefers the chosen answer, shown first (0) or second (1)."""
        margin = values.outputs[:, order, 0] - values.outputs[:, order, 1]
        return -margin if order else margin

    def _template(self) -> str:
        return self.params.template or shipped("classifier")
