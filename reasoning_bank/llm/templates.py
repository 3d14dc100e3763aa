"""Known cases are answered by rules from a file, without a model: exit codes, test summaries, plain statements."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from reasoning_bank.errors import ConfigError, InputError
from reasoning_bank.llm.exchange import Purpose
from reasoning_bank.text.patterns import Pattern, encodable, linear

EVIDENCE: Final = "{evidence}"
"""In a response: the lines that were found."""

Scalar = str | bool | int | float
"""What a field of a response may be."""
_LONGEST_LOOK: Final = 20_000
_LONGEST_EVIDENCE: Final = 200
_PACKAGED: Final = "templates.toml"
_UNSEEN: Final = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]|\r(?=\n)")
"""What a terminal does not show: colours, and the returns before new lines."""


@dataclass(frozen=True, slots=True)
class TemplateAnswer:
    """What a template answers.

    Attributes:
        name: the template's.
        response: the answer, as a model would give it; the confidence is not in it.
        confidence: 0..1, how often it is right.
        evidence: the lines it was read from, on one line.
    """

    name: str
    response: Mapping[str, Scalar]
    confidence: float
    evidence: str

    def offered(self, answer: type[BaseModel]) -> dict[str, Scalar]:
        """Return the response for a type of answer, with the confidence where that type has one."""
        return (
            {"confidence": self.confidence, **self.response}
            if "confidence" in answer.model_fields
            else {**self.response}
        )


class Templates:
    """A user's templates, and after them those of the package, which are read with the first text."""

    def __init__(self, own: Sequence["Template"] = ()) -> None:
        self._own = own

    def load(self) -> None:
        """Read those of the package now, for whoever matches where files must not be read."""
        _packaged()

    def match(self, purpose: Purpose, text: str) -> TemplateAnswer | None:
        """Return the answer of the template whose evidence stands on the last line, or None where none fits.

        A run that fails, is repaired and passes ends with a pass. On one line the first template of the file counts.
        One without a response knows that there is none.

        Args:
            purpose: only its templates are looked at.
            text: the material itself; its last 20,000 characters are read.
        """
        tail = _UNSEEN.sub("", encodable(text[-_LONGEST_LOOK:].rstrip()))
        lowered = tail.lower()
        for group in (self._own, _packaged()):
            found = [
                (span, template)
                for template in group
                if template.purpose == purpose and (span := template.found(tail, lowered))
            ]
            if found:
                span, template = max(found, key=lambda each: tail.rfind("\n", 0, each[0][1]))
                return template.answer(_lines(tail, span)) if template.response else None
        return None

    def refuse_unfit(self, answers: Mapping[Purpose, type[BaseModel]]) -> None:
        """Check that each response of the user's is an answer to its purpose, with however much evidence in it.

        Raises:
            ConfigError: naming the first template that is none.
        """
        longest = "x" * (_LONGEST_EVIDENCE + 2)
        for template in (each for each in self._own if each.response and each.purpose in answers):
            try:
                answers[template.purpose].model_validate(template.answer(longest).offered(answers[template.purpose]))
            except ValidationError as error:
                raise ConfigError(f"template {template.name!r}: its response is no answer: {_first(error)}") from error


@dataclass(frozen=True, slots=True)
class Template:
    """A known case.

    Attributes:
        name: says what it knows.
        purpose: which questions it answers.
        any: one of these must occur; lower case, case is ignored. Cheap: all else is looked at only then.
        all: these must occur, too.
        none: these must not occur.
        pattern: must be found; its last match is the evidence.
        last_chars: how much of the end of the text is looked at.
        response: the answer; empty: none can be given.
        confidence: 0..1.
    """

    name: str
    purpose: Purpose
    any: tuple[str, ...]
    all: tuple[str, ...]
    none: tuple[str, ...]
    pattern: Pattern
    last_chars: int
    response: Mapping[str, Scalar]
    confidence: float

    def found(self, tail: str, lowered: str) -> tuple[int, int] | None:
        """Return the last [start, end) of its evidence in the tail, or None where it does not fit."""
        before = max(len(tail) - self.last_chars, 0)
        if before:  # what is left of a line that is cut would look like a whole one
            before = tail.find("\n", before) + 1 or before
        seen = lowered[-self.last_chars :]
        if not any(literal in seen for literal in self.any) or any(literal in seen for literal in self.none):
            return None
        if not all(literal in seen for literal in self.all):
            return None
        if not (spans := [match.span() for match in self.pattern.finditer(tail[before:])]):
            return None
        start, end = spans[-1]
        return before + start, before + end

    def answer(self, evidence: str) -> TemplateAnswer:
        """Return its answer, with the evidence filled in."""
        filled = {
            key: value.replace(EVIDENCE, evidence) if isinstance(value, str) else value
            for key, value in self.response.items()
        }
        return TemplateAnswer(self.name, filled, self.confidence, evidence)


def templates(own: Path | None = None) -> Templates:
    """Return the templates of a user's file, if any, which is read, before those that come with the package.

    Args:
        own: a TOML file of `[[template]]` tables.

    Raises:
        ConfigError: the file cannot be read, or a template in it cannot be used; names it.
    """
    return Templates(() if own is None else _read(_text_of(own), own.name))


Literals = tuple[Annotated[str, StringConstraints(min_length=1, to_lower=True)], ...]


class _Table(BaseModel):
    """A `[[template]]` as it stands in a file."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern="^[a-z0-9][a-z0-9-]*$")
    purpose: Purpose
    any: Literals = Field(min_length=1)
    all: Literals = ()
    none: Literals = ()
    pattern: str | None = None
    last_chars: int = Field(default=4_000, ge=1, le=_LONGEST_LOOK)
    response: dict[str, Scalar] = Field(default_factory=dict)
    confidence: float = Field(default=1.0, ge=0, le=1)


@cache
def _packaged() -> Sequence[Template]:
    text = files("reasoning_bank.llm").joinpath(_PACKAGED).read_text(encoding="utf-8")
    return _read(text, _PACKAGED)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file of templates {str(file)!r} cannot be read: {error}") from error


def _read(text: str, file: str) -> Sequence[Template]:
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: no TOML: {error}") from error
    listed: Any = tables.pop("template", [])
    if tables or not isinstance(listed, list):
        raise ConfigError(f"{file}: only [[template]] tables belong into it")
    numbered = enumerate(cast("list[Any]", listed), 1)
    read = [_template(table, f"{file}: template {number}") for number, table in numbered]
    names = [template.name for template in read]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{file}: two templates are named {min(twice)!r}")
    return read


def _template(table: Any, place: str) -> Template:
    try:
        read = _Table.model_validate(table)
        compiled = linear(read.pattern or f"(?i:{'|'.join(map(_words, read.any))})")
    except (ValidationError, InputError) as error:
        raise ConfigError(f"{place}{_named(table)}: {_first(error)}") from error
    fields = read.model_dump(exclude={"pattern"})
    return Template(**fields, pattern=compiled)


def _words(literal: str) -> str:
    """A pattern for a literal that is no part of a longer word; both engines see word borders of ASCII letters."""
    start, end = (r"\b" if edge.isascii() and edge.isalnum() else "" for edge in (literal[0], literal[-1]))
    return f"{start}{re.escape(literal)}{end}"


def _named(table: Any) -> str:
    return f" ({table['name']!r})" if isinstance(table, dict) and "name" in table else ""


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _lines(text: str, span: tuple[int, int]) -> str:
    start, end = text.rfind("\n", 0, span[0]) + 1, text.find("\n", span[1])
    lines = " ".join(text[start : end if end >= 0 else len(text)].split())
    return lines if len(lines) <= _LONGEST_EVIDENCE else f"{lines[:_LONGEST_EVIDENCE]} …"
