"""Settings of the backend `openai`: the server, as judges name theirs, and what a request for an answer says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from engine.errors import SpecError
from engine.generate import schema
from engine.server import ServerParams

OWN = {"logprobs", "messages", "model", "n", "prompt", "response_format", "seed", "stop", "stream", "temperature", "top_p"}
OWN |= {"max_tokens", "max_completion_tokens", "top_logprobs"}


class OpenAIParams(ServerParams):
    """Which server answers, and how. What is `exclude`d changes no answer and enters no fingerprint."""

    separator: str = Field("\n", description="completions: what stands between the contents of two messages")
    send_seed: bool = Field(True, description="send each answer's own seed; false for servers that refuse one")
    send_top_k: bool = Field(False, description="send generate.top_k, which is no field of the protocol but which vLLM takes")
    logprobs: Literal["auto"] | bool = Field("auto", description="ask for log-probabilities; auto: go on without where they are refused")
    json_schema: dict[str, Any] | str | None = Field(None, description="JSON Schema of every answer, or a file with it")
    samples_per_request: int = Field(1, gt=0, le=128, description="answers that one request asks; above 1 they share its seed")
    refused: Literal["error", "keep"] = Field(
        "error", exclude=True, description="a request that the server refuses; keep: an empty answer with finish_reason error"
    )

    def check(self, field: str = "params") -> None:
        """SpecError for a URL that is none or holds a secret, or for fields in `extra` that others set."""
        super().check(field)
        if taken := sorted(OWN & set(self.extra)):
            hint = "set the sampler in `generate`, and the rest by its own name in params"
            raise SpecError(f"{field}.extra: {', '.join(taken)} would overrule what Rondo sends and records", hint=hint)

    def who(self, spec_path: Path) -> dict[str, Any]:
        """JSON that stands for what answers: server, model, and what every request says. SpecError or DataError as in `schema_of`."""
        own = {"send_seed", "send_top_k", "logprobs", "samples_per_request", "json_schema"}
        found = {name: value for name, value in self.settings().items() if name not in own}
        return found | ({} if self.json_schema is None else {"json_schema": self.schema_of(spec_path)})

    def schema_of(self, spec_path: Path) -> dict[str, Any] | None:
        """The schema, if one is given. SpecError or DataError as `engine.generate.schema.read`."""
        return None if self.json_schema is None else schema.read(self.json_schema, spec_path)

    def response_format(self, spec_path: Path) -> dict[str, Any] | None:
        """The protocol's field for it."""
        found = self.schema_of(spec_path)
        return found and {"type": "json_schema", "json_schema": {"name": "answer", "schema": found, "strict": True}}
