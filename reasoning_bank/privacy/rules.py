"""The redaction rules, read from `rules.toml` and ready to run over text."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

from reasoning_bank.privacy.gates import GATES, Candidate, Style

# How a name is joined to its value: JSON, YAML, TOML, env files, URL queries, code with or without a type, CLI options.
_JOINED: Final = (
    r"""\d{0,2}\\?["'`]?\]?"""
    r"""(?:(?P<before>[ \t]{0,8})(?::[ ]{0,2}\w{1,32}[ ]{0,2}=|=>|:=|={1,2}|:)(?P<after>[ \t]{0,8})"""
    r"""|[ ](?:is|was)[: ][ ]{0,2}|(?P<blank>[ ]{1,2})(?![=:\s-]))"""
)
_VALUE: Final = (
    r"""(?:[bfru]{0,2}\\?"(?P<double>(?:[^"\\\n]|\\[^"\n]){1,4096})(?=\\?")"""
    r"""|[bfru]{0,2}\\?'(?P<single>(?:[^'\\\n]|\\[^'\n]){1,4096})(?=\\?')"""
    r"""|(?P<bare>[^\s"'`,;&<>(){}\[\]|\\]{1,256}))"""
)
_BARE_REST: Final = re.compile(r"""[^\s"'`,;&<>(){}\[\]|\\]*""")
_OPTION: Final = re.compile(r"--[\w-]{0,32}\Z")


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of secret and how it is found.

    Attributes:
        kind: name in the placeholder.
        anchors: literals, one of which starts every match; lower case when the rule ignores case.
        pattern: tried at each anchor.
        gate: judges what was found, or None when the shape is proof.
        ignore_case: anchors are looked up in the lower-cased text.
        glued: a match may follow a letter or digit.
        before: characters in front of the match that belong to the secret.
        requires: a word the text must contain, or "".
        open_ended: the pattern bounds the secret's length, and the secret goes on to the end of its word.
        assigned: the pattern is a name, a joint and a value.
    """

    kind: str
    anchors: tuple[str, ...]
    pattern: re.Pattern[str]
    gate: Callable[[Candidate], bool] | None = None
    ignore_case: bool = False
    glued: bool = False
    before: int = 0
    requires: str = ""
    open_ended: bool = False
    assigned: bool = False
    name: re.Pattern[str] | None = field(default=None)

    def spans(self, text: str, lowered: str) -> Iterator[tuple[int, int]]:
        """Yield [start, end) of each secret of this kind, in order, never overlapping.

        Args:
            text: where to look.
            lowered: the same text in lower case, character by character.
        """
        haystack = lowered if self.ignore_case else text
        free_from = 0
        for position in _positions(haystack, self.anchors):
            if position < free_from or not (self.glued or _starts_word(text, position)):
                continue
            found = self.pattern.match(text, position)
            span = self._judged(found) if found else None
            if span:
                yield span
                free_from = span[1]

    def _judged(self, found: re.Match[str]) -> tuple[int, int] | None:
        if self.assigned:
            return self._assigned(found)
        text = found.string
        start, end = found.span("secret") if "secret" in found.re.groupindex else found.span()
        if self.gate and not self.gate(Candidate(text[start:end], following=text[end : end + 1])):
            return None
        return start - self.before, _bare_end(text, end) if self.open_ended else end

    def _assigned(self, found: re.Match[str]) -> tuple[int, int] | None:
        text, group = found.string, found.lastgroup or "bare"
        start, end = found.span(group)
        if found["blank"] and not _OPTION.search(text, max(found.start() - 34, 0), found.start()):
            return None
        bare = group == "bare"
        style: Style = ("spaced" if found["before"] else "bare") if bare else "quoted"
        if self.gate and not self.gate(Candidate(text[start:end], style, text[end : end + 1])):
            return None
        # Only what is accepted is followed to its end: looking that far at every name would take quadratic time.
        return start, _bare_end(text, end) if bare else end


class RuleSet:
    """Rules in order, with all their anchors side by side: most texts hold none, and that has to be cheap to see."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._exact: list[tuple[str, int]] = []
        self._lower: list[tuple[str, int]] = []
        for order, rule in enumerate(self.rules):
            if rule.requires:
                self._lower.append((rule.requires, order))
            else:
                anchors = self._lower if rule.ignore_case else self._exact
                anchors += ((anchor, order) for anchor in rule.anchors)

    def spans(self, text: str, lowered: str) -> Iterator[tuple[int, int, int, str]]:
        """Yield start, order of the rule, end and kind of each finding; spans of different rules may overlap.

        Args:
            text: where to look.
            lowered: the same text in lower case, character by character.
        """
        present = {order for anchor, order in self._exact if anchor in text}
        present.update(order for anchor, order in self._lower if anchor in lowered)
        for order in sorted(present):
            for start, end in self.rules[order].spans(text, lowered):
                yield start, order, end, self.rules[order].kind


@cache
def packaged_rules() -> RuleSet:
    """Return the rules that come with the package, most specific first."""
    text = files("reasoning_bank.privacy").joinpath("rules.toml").read_text(encoding="utf-8")
    return RuleSet(read_rules(tomllib.loads(text)))


def read_rules(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Rule, ...]:
    """Return the rules of a parsed rules file, `[[rule]]` tables before `[[assignment]]` tables."""
    shapes = tuple(_shape(table) for table in tables.get("rule", ()))
    return shapes + tuple(_assignment(table) for table in tables.get("assignment", ()))


def _shape(table: Mapping[str, Any]) -> Rule:
    flags = re.IGNORECASE if table.get("ignore_case") else re.NOFLAG
    return Rule(
        kind=table["kind"],
        anchors=tuple(table["anchors"]),
        # ASCII: a key has no letters of other scripts, and text of such scripts may touch it.
        pattern=re.compile(table["pattern"], flags | re.ASCII),
        gate=GATES[table["gate"]] if "gate" in table else None,
        ignore_case=table.get("ignore_case", False),
        glued=table.get("glued", False),
        before=table.get("before", 0),
        requires=table.get("requires", ""),
        open_ended=table.get("open_ended", False),
    )


def _assignment(table: Mapping[str, Any]) -> Rule:
    return Rule(
        kind=table["kind"],
        anchors=tuple(table["anchors"]),
        pattern=re.compile(table["names"] + _JOINED + _VALUE, re.IGNORECASE | re.ASCII),
        gate=GATES[table["gate"]],
        ignore_case=True,
        glued=True,
        assigned=True,
        name=re.compile(table["names"] + r"\d{0,2}\Z", re.IGNORECASE | re.ASCII),
    )


def _positions(haystack: str, anchors: tuple[str, ...]) -> list[int]:
    found: list[int] = []
    for anchor in anchors:
        position = haystack.find(anchor)
        while position >= 0:
            found.append(position)
            position = haystack.find(anchor, position + 1)
    return sorted(found) if len(anchors) > 1 else found


def _starts_word(text: str, position: int) -> bool:
    """True unless a letter or digit stands before, not counting an escape such as a written-out newline or %3D."""
    before = text[max(position - 3, 0) : position]
    if not before or not (before[-1].isascii() and before[-1].isalnum()):
        return True
    return before[-2:-1] == "\\" or before[:-2] == "%"


def _bare_end(text: str, end: int) -> int:
    found = _BARE_REST.match(text, end)
    return found.end() if found else end
