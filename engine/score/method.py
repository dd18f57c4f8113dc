"""What measures and comparers share: settings, what they read, and what their numbers depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from engine.params import Params
from engine.spec import Spec
from engine.step import Context, Ref


class Method:
    """A method that an entry of the spec names. `revision` rises when its numbers change for equal inputs; `on_device`: it runs a
    model. `detail` is what the ledger keeps of a run beside its rows, such as costs."""

    revision: ClassVar[int] = 1
    on_device: bool = False
    Params: ClassVar[type[Params]] = Params

    def __init__(self, params: Any) -> None:
        self.params = params
        self.detail: dict[str, Any] = {}

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """What it reads beside the answers and their prompts."""
        return []

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """JSON for the fingerprint, beside its params. Of what the cache keeps neither the round nor the experiment's name."""
        return {}

    def versions(self, ctx: Context) -> list[str]:
        """Digests of the models that it reads in this round."""
        return []
