"""Answers of a given shape: asked for as strictly as each model can be, and checked whatever it promised."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from reasoning_bank.llm.exchange import Message, ModelRequest
from reasoning_bank.records import JsonValue

T = TypeVar("T", bound=BaseModel)

Rung = Literal["schema", "object", "prompt"]
"""How a shape is asked for: the server holds the model to the schema, or to some JSON object, or we can only ask."""
RUNGS: Final[tuple[Rung, ...]] = ("schema", "object", "prompt")

_KEPT: Final = ("type", "description", "enum")
"""What every server's idea of a schema has; no lengths, ranges, patterns or defaults. Pydantic checks all of it."""
_PLACES_TRIED: Final = 50
_PROBLEMS_SHOWN: Final = 8
_THOUGHT: Final = "</think>"


class Refusals:
    """What single models refused, so that they are not asked for it again while this process lives."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}

    def rungs(self, model: str) -> Sequence[Rung]:
        """Return the rungs to try, the strictest first."""
        return RUNGS[self._first.get(model, 0) :]

    def worked(self, model: str, rung: Rung) -> None:
        """Remember that a model took this rung, after it had refused those above."""
        self._first[model] = RUNGS.index(rung)

    def learned(self) -> Mapping[str, Rung]:
        """Return the rung of each model that was asked."""
        return {model: RUNGS[first] for model, first in self._first.items()}


@cache
def schema_of(answer: type[BaseModel]) -> Mapping[str, JsonValue]:
    """Return the schema of an answer in the words that all servers know: everything required, nothing else allowed.

    Raises:
        ValueError: the type refers to itself, or has a mapping in it: not every server can hold a model to that.
    """
    schema = answer.model_json_schema()
    return _plain(_without_docstring(schema), schema.get("$defs", {}), ())


def asked_as(request: ModelRequest, rung: Rung, schema: Mapping[str, JsonValue]) -> ModelRequest:
    """Return the request with its shape asked for on that rung; below the first, the schema stands in the prompt."""
    if rung == "schema":
        return replace(request, schema=schema)
    said = (
        "Answer with one JSON object and nothing else: no explanation, no Markdown. It must fit this JSON schema:\n"
        + json.dumps(schema, ensure_ascii=False)
    )
    first, *others = request.messages
    if first.role == "system":
        messages = (Message("system", f"{first.text}\n\n{said}"), *others)
    else:
        messages = (Message("system", said), *request.messages)
    return replace(request, messages=messages, schema=None, json_object=rung == "object")


def objects_in(text: str) -> Iterator[JsonValue]:
    """Yield the JSON objects of an answer, the last first: what stands around them is talk.

    Thinking aloud and fences of Markdown are passed over; of objects within one another the outermost counts.
    """
    answer = text.rpartition(_THOUGHT)[2].strip()
    found: list[JsonValue] = []
    decoder, start, tried = json.JSONDecoder(), answer.find("{"), 0
    while start >= 0 and tried < _PLACES_TRIED:
        tried += 1
        try:
            value, end = decoder.raw_decode(answer, start)
            found.append(value)
        except (ValueError, RecursionError):
            end = start + 1
        start = answer.find("{", end)
    yield from reversed(found)


def validated(text: str, answer: type[T], clean: Callable[[str], str]) -> T:
    """Return the last object of a model's answer that is valid.

    Args:
        text: what the model wrote.
        answer: what it must be.
        clean: applied to each text in it before anything else sees it.

    Raises:
        ValueError: none is; says to the model what is wrong with it.
    """
    problems: list[str] = []
    for value in objects_in(text):
        try:
            return answer.model_validate(_cleaned(value, clean))
        except ValidationError as error:
            problems.append(_problems(error))
    raise ValueError(problems[0] if problems else "there is no complete JSON object in it")


def repair_of(request: ModelRequest, text: str, problem: str) -> ModelRequest:
    """Return the request with the unusable answer and what is wrong with it, for another try."""
    said = f"That answer cannot be used:\n{problem}\nAnswer again, with the corrected JSON object only."
    return replace(request, messages=(*request.messages, Message("assistant", text or "-"), Message("user", said)))


def _problems(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False)
    lines = [f"- {'.'.join(map(str, each['loc'])) or 'the object'}: {each['msg']}" for each in found[:_PROBLEMS_SHOWN]]
    more = len(found) - len(lines)
    return "\n".join([*lines, *([f"- and {more} more"] if more else [])])


def _cleaned(value: JsonValue, clean: Callable[[str], str]) -> JsonValue:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(part, clean) for part in value]
    if isinstance(value, dict):
        return {key: _cleaned(part, clean) for key, part in value.items()}
    return value


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any], above: tuple[str, ...]) -> dict[str, JsonValue]:
    if reference := schema.get("$ref"):
        name = str(reference).rpartition("/")[2]
        if name in above:
            raise ValueError(f"{name} refers to itself")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _plain(_without_docstring(definitions[name]) | beside, definitions, (*above, name))
    plain: dict[str, JsonValue] = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        plain["enum"] = [schema["const"]]
    if "anyOf" in schema:
        plain["anyOf"] = [_plain(one, definitions, above) for one in schema["anyOf"]]
    if "items" in schema:
        plain["items"] = _plain(schema["items"], definitions, above)
    if schema.get("type") == "object":
        plain |= _object(schema.get("properties"), definitions, above)
    return plain


def _object(
    properties: Mapping[str, Any] | None, definitions: Mapping[str, Any], above: tuple[str, ...]
) -> dict[str, JsonValue]:
    if properties is None:
        raise ValueError("a mapping has no fixed properties")
    return {
        "properties": {name: _plain(part, definitions, above) for name, part in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


def _without_docstring(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The docstring of a class is for us; models read the descriptions of its fields."""
    return {key: value for key, value in schema.items() if key != "description"}
