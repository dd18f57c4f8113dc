"""Tools as prompts declare them, and whether a call is one that they take."""

from __future__ import annotations

from typing import Any

from engine.score.calls import Call
from engine.score.json_schema import first_error
from engine.score.json_text import loads

# names of types that tool sets use beside those of JSON Schema (BFCL: Python's and Java's)
TYPES = {
    **dict.fromkeys(("dict", "hashmap"), "object"),
    **dict.fromkeys(("float", "double"), "number"),
    **dict.fromkeys(("int", "long", "byte", "short"), "integer"),
    **dict.fromkeys(("tuple", "list", "arraylist"), "array"),
    **dict.fromkeys(("str", "char"), "string"),
    "bool": "boolean",
}


def by_name(given: Any) -> dict[str, dict[str, Any]]:
    """Each tool's parameters (a JSON Schema) by the tool's name. ValueError for declarations of no known shape.

    Known: OpenAI's {"type": "function", "function": {...}}, {"name", "parameters"} (or input_schema), and an object by name.
    """
    if isinstance(given, str):
        given = loads(given)
    if isinstance(given, dict):
        given = [one | {"name": name} for name, one in given.items() if isinstance(one, dict)] if "name" not in given else [given]
    if not isinstance(given, list):
        raise ValueError(f"tools are a list of declarations, found {type(given).__name__}")
    found = {}
    for one in given:
        if isinstance(one, dict) and isinstance(one.get("function"), dict):
            one = one["function"]
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise ValueError(f"a tool is an object with a name, found {str(one)[:80]}")
        schema = one.get("parameters") or one.get("input_schema") or {}
        if not isinstance(schema, dict):
            raise ValueError(f"the parameters of {one['name']} are {type(schema).__name__}, expected an object")
        found[one["name"]] = plain(schema)
    return found


def plain(schema: Any) -> Any:
    """A schema with the types that JSON Schema knows; `any` is left out."""
    if isinstance(schema, list):
        return [plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: plain(value) for key, value in schema.items() if key not in ("type", "optional")}
    kind = schema.get("type")
    if isinstance(kind, str):
        kind = TYPES.get(kind.lower(), kind.lower())
    if isinstance(schema.get("required"), bool):  # a property that says of itself whether it is needed
        del made["required"]
    return made if kind in (None, "any") else made | {"type": plain(kind)}


def trouble(call: Call, tools: dict[str, dict[str, Any]]) -> str | None:
    """What no tool would take of a call: its name, an argument that is missing, unknown or of the wrong type. ValueError for a tool
    whose schema cannot be used."""
    if call.name not in tools:
        return f"unknown tool {call.name!r}"
    schema = tools[call.name]
    known = schema.get("properties") or {}
    missing = sorted(set(schema.get("required") or []) - set(call.arguments))
    if missing:
        return f"{call.name}: missing argument {missing[0]!r}"
    unknown = sorted(set(call.arguments) - set(known))
    if unknown and not schema.get("additionalProperties") and not schema.get("patternProperties"):
        return f"{call.name}: unknown argument {unknown[0]!r}"
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    for name in sorted(set(call.arguments) & set(known)):
        own = known[name]
        told = first_error(own | shared if isinstance(own, dict) else own, call.arguments[name])
        if told:
            return f"{call.name}: wrong type of {name!r} ({told})"
    return None


def default_of(name: str, argument: str, tools: dict[str, dict[str, Any]]) -> tuple[bool, Any]:
    """Whether a tool declares a default for an argument, and which."""
    own = (tools.get(name, {}).get("properties") or {}).get(argument)
    return (True, own["default"]) if isinstance(own, dict) and "default" in own else (False, None)
