"""Patterns that take linear time whatever they and the text are: RE2's, or plain ones that cannot go back far.

RE2 is a C++ library. Where it cannot be loaded, `re` does the same, and refuses what could keep it busy for ever.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, cast

from reasoning_bank.errors import InputError

MOST_WAYS: Final = 1_000
"""Ways one match may be tried by `re` at one place of the text; RE2 needs no such limit."""

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_SYNTAX: Final = "send RE2 syntax (no look-around, no back-references)"


class Match(Protocol):
    """What was found, as `re.Match` and RE2 both give it."""

    def span(self, group: int = 0, /) -> tuple[int, int]:
        """Return [start, end) in characters, or (-1, -1) for a group that took no part."""
        ...


class Pattern(Protocol):
    """A compiled pattern, of `re` or of RE2."""

    @property
    def groupindex(self) -> Mapping[str, int]:
        """The number of each named group."""
        ...

    def search(self, text: str, /) -> Match | None:
        """Return the first match."""
        ...

    def finditer(self, text: str, /) -> Iterator[Match]:
        """Yield all matches, from left to right, none overlapping another."""
        ...


def linear(pattern: str, *, ignore_case: bool = False, bounded: bool = False) -> Pattern:
    """Return a pattern whose search takes time by the length of the text, not by its square or worse.

    Args:
        pattern: in the syntax of RE2, which knows no look-around and no back-references. It is searched in text that
            `encodable` has passed: RE2 reads UTF-8, which has no lone surrogates.
        ignore_case: upper and lower case are the same.
        bounded: whoever wrote the pattern has bounded what can be tried at one place: `re` takes it unseen.

    Raises:
        InputError: it is no pattern, or not in that syntax.
    """
    re2 = _re2()
    if re2 is None:
        return _plain(pattern, ignore_case, bounded)
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return cast(Pattern, re2.compile(encodable(pattern), options))
    except re2.error as error:
        said: Any = error.args[0] if error.args else ""
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise InputError(f"{reason}: {_SYNTAX}") from error


class Literals:
    """Which of many words stand in a text: one pass of RE2 over it, or without RE2 one search for each word."""

    def __init__(self, exact: Sequence[str], folded: Sequence[str]) -> None:
        """Take words that must stand as they are, and words in lower case that may stand in any case."""
        self._exact = tuple(exact)
        self._folded = tuple(folded)
        self._set: Any = None
        if re2 := _re2():
            self._set = re2.Set.SearchSet()
            for word in self._exact:
                self._set.Add(re2.escape(word))
            for word in self._folded:
                self._set.Add(f"(?i){re2.escape(word)}")
            self._set.Compile()

    def found(self, text: str, lowered: str) -> Iterator[int]:
        """Yield the numbers of the words that stand in the text, counted from 0, the exact before the folded.

        Args:
            text: where to look.
            lowered: the same in lower case.
        """
        if self._set is not None:
            yield from self._set.Match(encodable(text)) or ()
            return
        yield from (number for number, word in enumerate(self._exact) if word in text)
        yield from (number for number, word in enumerate(self._folded, len(self._exact)) if word in lowered)


def encodable(text: str) -> str:
    """Return the text with each lone surrogate replaced by U+FFFD: UTF-8 has none, and the places stay."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def _re2() -> Any:
    try:
        import re2  # noqa: PLC0415 -- a C++ library that no handshake needs
    except ImportError:
        return None
    return re2


def _plain(pattern: str, ignore_case: bool, bounded: bool) -> Pattern:
    try:
        compiled = re.compile(pattern, re.IGNORECASE if ignore_case else re.NOFLAG)
        # The only parser of its syntax there is, though its name is private.
        parsed: list[Any] = list(re._parser.parse(pattern))  # type: ignore[attr-defined]
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"{error}: {_SYNTAX}") from error
    if not bounded and _ways(parsed, at_end=True) > MOST_WAYS:
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
