"""Patterns that take linear time whatever they and the text are: RE2's, or plain ones that cannot go back far.

RE2 is a C++ library. Where it cannot be loaded, `re` does the same, and refuses what could keep it busy for ever.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, Protocol, cast

from reasoning_bank.errors import InputError

MOST_WAYS: Final = 1_000
"""Ways one match may be tried by `re` at one place of the text; RE2 needs no such limit."""

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_SYNTAX: Final = "send RE2 syntax (no look-around, no back-references)"


class Match(Protocol):
    """What was found, as `re.Match` and RE2 both give it."""

    def span(self, group: int | str = 0, /) -> tuple[int, int]:
        """Return [start, end) in characters, or (-1, -1) for a group that took no part."""
        ...


class Pattern(Protocol):
    """A compiled pattern, of `re` or of RE2."""

    def search(self, text: str, /) -> Match | None:
        """Return the first match."""
        ...

    def finditer(self, text: str, /) -> Iterator[Match]:
        """Yield all matches, from left to right, none overlapping another."""
        ...


def linear(pattern: str, *, ignore_case: bool = False, without_re2: bool = False) -> Pattern:
    """Return a pattern whose search takes time by the length of the text, not by its square or worse.

    Args:
        pattern: in the syntax of RE2, which knows no look-around and no back-references. Send text that
            `encodable` has passed: RE2 reads UTF-8, which has no lone surrogates.
        ignore_case: upper and lower case are the same.
        without_re2: compile as if RE2 were not there.

    Raises:
        InputError: it is no pattern, or not in that syntax.
    """
    re2 = None if without_re2 else _re2()
    if re2 is None:
        return _plain(pattern, ignore_case)
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return cast(Pattern, re2.compile(encodable(pattern), options))
    except re2.error as error:
        said: Any = error.args[0] if error.args else ""
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise InputError(f"{reason}: {_SYNTAX}") from error


def encodable(text: str) -> str:
    """Return the text with each lone surrogate replaced by U+FFFD: UTF-8 has none, and the places stay."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def _re2() -> Any:
    try:
        import re2  # noqa: PLC0415 -- a C++ library that only patterns of users and of suspicion need
    except ImportError:
        return None
    return re2


def _plain(pattern: str, ignore_case: bool) -> Pattern:
    try:
        compiled = re.compile(pattern, re.IGNORECASE if ignore_case else re.NOFLAG)
        # The only parser of its syntax there is, though its name is private.
        parsed: list[Any] = list(re._parser.parse(pattern))  # type: ignore[attr-defined]
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"{error}: {_SYNTAX}") from error
    ways = _ways(parsed, at_end=True)
    if ways > MOST_WAYS:
        raise InputError("without the library google-re2 it could take for ever: bound its repetitions, such as {0,40}")
    return cast(Pattern, compiled)


def _ways(parts: list[Any], *, at_end: bool = False) -> float:
    """In how many ways these parts can be matched at one place; infinite where a look-around or reference is."""
    ways = 1.0
    for number, (operation, value) in enumerate(parts):
        ways *= _ways_of(str(operation), value, at_end=at_end and number == len(parts) - 1)
    return ways


def _ways_of(operation: str, value: Any, *, at_end: bool) -> float:
    if operation in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
        least, most, body = value
        # What is last and one character wide is taken once, and nothing behind it can make it try again.
        if at_end and _ways(list(body)) == 1 and operation != "MIN_REPEAT":
            return 1
        repeats = float(most) if most < 2**31 else float("inf")
        inner = _ways(list(body))
        return (repeats - least + 1) * (inner**repeats if inner > 1 else 1)
    if operation == "BRANCH":
        return sum(_ways(list(branch), at_end=at_end) for branch in value[1])
    if operation in {"SUBPATTERN", "ATOMIC_GROUP"}:
        return _ways(list(value[-1] if operation == "SUBPATTERN" else value), at_end=at_end)
    return float("inf") if operation in {"ASSERT", "ASSERT_NOT", "GROUPREF", "GROUPREF_EXISTS"} else 1
