"""Does the JSON of an answer fit a JSON Schema, of the spec or of the prompt, and perhaps equal the reference?"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from pydantic import Field, model_validator

from engine.ids import canonical
from engine.score import ERROR, RIGHT, UNPARSEABLE, WRONG, Answer, Params, Verdict, Verifier, verifiers
from engine.score.json_text import difference, loads, values


class JsonSchemaParams(Params):
    json_schema: dict[str, Any] | None = Field(None, description="the schema for every prompt; none: each prompt has its own")
    field: str | None = Field("schema", description="key of prompts.meta with the prompt's schema, where `json_schema` is not given")
    which: Literal["last", "first"] = Field("last", description="which of several JSON values of an answer counts")
    compare: Literal["equal", "subset"] | None = Field(
        None, description="compare with the reference, which is JSON too; subset: objects may have further keys"
    )
    tolerance: float = Field(0.0, ge=0, description="relative difference up to which numbers are equal")

    @model_validator(mode="after")
    def _usable(self) -> JsonSchemaParams:
        if self.json_schema is not None:
            checker(canonical(self.json_schema))
        elif self.field is None and self.compare is None:
            raise ValueError("give `json_schema`, a `field` that holds each prompt's, or `compare`")
        return self


@verifiers.register("json_schema")
class JsonSchema(Verifier):
    """right 1.0; wrong 0.0 with the path of the first error; unparseable 0.0 where there is no JSON; error 0.0 without a schema.

    Schemas are of draft 2020-12 unless `$schema` names another; a `$ref` outside of the schema is an error, nothing is fetched.
    """

    Params = JsonSchemaParams

    def __init__(self, params: JsonSchemaParams) -> None:
        super().__init__(params)
        self.references = params.compare is not None

    def fields(self) -> tuple[str, ...]:
        """The prompt's schema, where the spec gives none."""
        return () if self.params.json_schema is not None or self.params.field is None else (self.params.field,)

    def verify(self, answer: Answer) -> Verdict:
        found = values(answer.response)
        if not found:
            return Verdict(0.0, UNPARSEABLE, "there is no JSON")
        value = found[-1 if self.params.which == "last" else 0]
        try:
            told = self._misfit(value, answer) or self._unlike(value, answer)
        except ValueError as error:
            return Verdict(0.0, ERROR, str(error))
        except RecursionError:
            return Verdict(0.0, UNPARSEABLE, "the JSON is nested too deeply")
        return Verdict(0.0, WRONG, told) if told else Verdict(1.0, RIGHT)

    def _misfit(self, value: Any, answer: Answer) -> str | None:
        """What is wrong by the schema. ValueError where there is none, or one that cannot be used."""
        params = self.params
        if params.json_schema is None and params.field is None:
            return None
        schema = params.json_schema if params.json_schema is not None else answer.meta.get(params.field)
        if schema is None:
            raise ValueError(f"the prompt has no {params.field!r}, where its schema should be")
        return first_error(schema, value)

    def _unlike(self, value: Any, answer: Answer) -> str | None:
        """Where it differs from the reference. ValueError for one that is no JSON."""
        if self.params.compare is None:
            return None
        if answer.reference is None:
            raise ValueError("there is no reference to compare with")
        try:
            expected = loads(answer.reference)
        except ValueError as error:
            raise ValueError(f"the reference is no JSON: {error}") from error
        return difference(value, expected, subset=self.params.compare == "subset", tolerance=self.params.tolerance)


def first_error(schema: Any, value: Any) -> str | None:
    """'$.path: what is wrong' of the first error in order of paths; None where `value` fits. ValueError for an unusable schema."""
    from referencing.exceptions import Unresolvable

    if isinstance(schema, str):
        schema = loads(schema)
    try:
        errors = sorted(checker(canonical(schema)).iter_errors(value), key=lambda error: (error.json_path, error.message))
    except Unresolvable as error:
        raise ValueError(f"the schema refers to {error.ref!r}, which is not in it; nothing is fetched") from error
    return f"{errors[0].json_path}: {errors[0].message[:200]}" if errors else None


@lru_cache(maxsize=4096)
def checker(schema: str) -> Any:
    """A validator of a schema (JSON). ValueError for a text that is no schema."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from jsonschema_specifications import REGISTRY

    made = loads(schema)
    if not isinstance(made, (dict, bool)):
        raise ValueError(f"a schema is an object, found {schema[:80]}")
    kind = validator_for(made, default=Draft202012Validator)
    try:
        kind.check_schema(made)
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.json_path}: {error.message[:200]}") from error
    return kind(made, registry=REGISTRY)  # the package's own registry fetches what it does not know
