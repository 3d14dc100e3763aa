"""Arguments of tools: checked strictly, explained without echoing what was sent.

A wrong type is an error and is never coerced, an unknown name is an error that names the nearest one. The SDK's own
texts would echo the value and a pydantic address; these name the field, the problem and what to send.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

Schema = dict[str, Any]
MOST_PROBLEMS = 5
LONGEST_NAME = 40
_NOT_FOR_MODELS = frozenset({"title", "additionalProperties", "minLength", "maxLength"})
"""Schema keys that only repeat what a model sees anyway; what they say is checked and explained regardless."""

_JSON_TYPES: dict[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    NoneType: "null",
}
_KINDS = {
    "string_type": "text",
    "int_type": "an integer, without quotes",
    "int_from_float": "an integer",
    "float_type": "a number, without quotes",
    "finite_number": "a finite number",
    "bool_type": "true or false, without quotes",
    "list_type": "a JSON array",
    "tuple_type": "a JSON array",
    "dict_type": "a JSON object",
    "model_type": "a JSON object",
    "model_attributes_type": "a JSON object",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


Id = Annotated[str, Field(min_length=1, max_length=200)]
"""An id of ours: far shorter, but a longer one would only be repeated in the error."""


class Answer(BaseModel):
    """A structured answer of a tool; its validator is built with the first one, not at start."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Arguments(ArgModelBase):
    """Arguments of one tool; strict, nothing unknown, frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


class Part(BaseModel):
    """An object inside arguments, under the same rules."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


def explain_arguments(error: ValidationError, model: type[BaseModel], tool: str) -> str:
    """Returns what is wrong with the arguments of `tool` and what to send instead, without any value that was sent."""
    problems = error.errors(include_url=False)
    # A null-or-X field reports one problem per alternative; the first one speaks for the field.
    first = {_path(problem["loc"]): problem for problem in reversed(problems)}
    ordered = list(reversed(first.items()))
    texts = [_explain(path, problem, model, tool) for path, problem in ordered[:MOST_PROBLEMS]]
    if len(ordered) > MOST_PROBLEMS:
        texts.append(f"and {len(ordered) - MOST_PROBLEMS} more problems")
    return "; ".join(texts)


def input_schema(model: type[BaseModel], configured: Mapping[str, Schema]) -> Schema:
    """Returns the JSON schema of the arguments as published: no titles, no null alternatives, `configured` added."""
    schema = _lean(model.model_json_schema(by_alias=True))
    for name, added in configured.items():
        schema["properties"][name] |= added
    schema["additionalProperties"] = False
    return schema


def output_schema(model: type[BaseModel]) -> Schema:
    """Returns the JSON schema of an answer as published: its keys and their types, one level deep.

    The inner levels are models of ours; to publish them would cost every client hundreds of tokens.
    """
    properties = {name: {"type": _json_types(field.annotation)} for name, field in model.model_fields.items()}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _json_types(annotation: object) -> str | list[str]:
    if get_origin(annotation) in {UnionType, Union}:
        return [str(_json_types(alternative)) for alternative in get_args(annotation)]
    return _JSON_TYPES.get(get_origin(annotation) or annotation, "object")


def _lean(schema: Schema) -> Schema:
    definitions = cast("dict[str, Schema]", schema.pop("$defs", {}))

    def lean(value: Any) -> Any:
        if isinstance(value, list):
            return [lean(part) for part in cast("list[Any]", value)]
        if not isinstance(value, dict):
            return value
        part = _without_null(cast("Schema", value))
        if "$ref" in part:
            target = definitions[str(part.pop("$ref")).rsplit("/", 1)[-1]]
            part = _undescribed(target) | part
        return {
            key: {name: lean(inner) for name, inner in member.items()} if key == "properties" else lean(member)
            for key, member in part.items()
            if key not in _NOT_FOR_MODELS
        }

    return lean(_undescribed(schema))


def _undescribed(schema: Schema) -> Schema:
    """Returns the schema of a model without the model's docstring, which is written for readers of the code."""
    return {key: value for key, value in schema.items() if key != "description"}


def _without_null(part: Schema) -> Schema:
    """Returns a null-or-X schema as X: null is accepted where an argument may be left out, and costs tokens to say."""
    alternatives = cast("list[Schema]", part.get("anyOf", []))
    real = [alternative for alternative in alternatives if alternative != {"type": "null"}]
    rest = {key: value for key, value in part.items() if key != "anyOf" and not (key == "default" and value is None)}
    if not alternatives:
        return rest
    return real[0] | rest if len(real) == 1 else rest | {"anyOf": real}


def _explain(path: str, problem: ErrorDetails, model: type[BaseModel], tool: str) -> str:
    kind = problem["type"]
    if kind == "extra_forbidden":
        return _unknown(problem["loc"], model, tool)
    if kind == "missing":
        return f"`{path}` is missing: send {_wanted(problem['loc'], model)}"
    if kind in {"string_too_short", "too_short"}:
        return f"`{path}` is empty: send at least {problem.get('ctx', {}).get('min_length', 1)} {_unit(kind)}"
    if kind in {"string_too_long", "too_long"}:
        return f"`{path}` is too long: send at most {problem.get('ctx', {}).get('max_length')} {_unit(kind)}"
    return f"`{path}` {_must_be(kind, problem)}"


def _must_be(kind: str, problem: ErrorDetails) -> str:
    context = problem.get("ctx", {})
    if kind == "literal_error":
        return f"must be one of {context.get('expected')}"
    if kind == "string_unicode":
        return "holds half of a UTF-16 pair (a lone surrogate): send well-formed text"
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"must be {words} {context.get(key)}"
    if kind == "value_error":  # raised by a validator of ours, whose texts name no values
        return str(context.get("error", "is not accepted"))
    return f"must be {_KINDS.get(kind, 'of another form')}, got {_json_kind(problem['input'])}"


def _unknown(location: Sequence[int | str], model: type[BaseModel], tool: str) -> str:
    *owner, name = location
    fields = _fields_at(owner, model)
    given = str(name)[:LONGEST_NAME]
    nearest = difflib.get_close_matches(given, fields, n=1, cutoff=0.0)
    where = f"`{_path(owner)}`" if owner else tool
    return f"{given!r} is not an argument of {where}; did you mean `{nearest[0]}`? It takes {', '.join(fields)}"


def _fields_at(owner: Sequence[int | str], model: type[BaseModel]) -> list[str]:
    """Returns the names known at a place inside the arguments; lists hold objects of one kind."""
    current = model
    for part in owner:
        if isinstance(part, str) and part in current.model_fields:
            current = next(_models_in(current.model_fields[part].annotation), current)
    return list(current.model_fields)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _wanted(location: Sequence[int | str], model: type[BaseModel]) -> str:
    *owner, name = location
    fields = _fields_at(owner, model)
    return f"it (arguments: {', '.join(fields)})" if name in fields else "it"


def _unit(kind: str) -> str:
    return "characters" if kind.startswith("string") else "items"


def _path(location: Sequence[int | str]) -> str:
    # Names of union alternatives in a location (such as "list[str]") say nothing to a caller.
    return ".".join(str(part)[:LONGEST_NAME] for part in location if not str(part).endswith("]"))


def _json_kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case Mapping():
            return "an object"
        case _:
            return "an array" if isinstance(value, Sequence) else "something else"
