"""The redaction rules, read from TOML and ready to run over text.

A rule for secrets has anchors (`rules.toml`): one pass says which stand in the text, and a bounded pattern is tried
only there. Rules for personal data (`personal.toml`) and those of a user have none: RE2 searches the whole text.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

from reasoning_bank.privacy.candidates import Candidate, Style
from reasoning_bank.privacy.gates import GATES
from reasoning_bank.text.patterns import Literals, Pattern, encodable, linear

# How a name is joined to its value: JSON, YAML, TOML, env files, URL queries, code with or without a type, CLI options.
_JOINED: Final = (
    r"""\d{0,2}(?:\\{0,7}["'`]|%22|&quot;|\\{1,2}u0022)?\]?"""
    r"""(?:(?P<before>[ \t]{0,8})(?::[ ]{0,2}\w{1,32}[ ]{0,2}=|=>|:=|={1,2}|:|%3[ad])(?P<after>[ \t]{0,8})"""
    r"""(?:%22|&quot;|\\{1,2}u0022)?"""
    r"""|(?P<pair>(?<=["'`]),[ ]{0,2})(?=["'])"""
    r"""|[ ](?:is|was)[: ][ ]{0,2}|(?P<blank>[ ]{1,2})(?![=:\s-]))"""
)
_VALUE: Final = (
    r"""(?:[bfru]{0,2}\\{0,7}"(?P<double>(?:[^"\\\n]|\\[^"\n]){1,4096})(?=\\?")"""
    r"""|[bfru]{0,2}\\?'(?P<single>(?:[^'\\\n]|\\[^'\n]){1,4096})(?=\\?')"""
    r"""|(?P<bare>[^\s"'`,;&<>(){}\[\]|\\]{1,256}))"""
)
GROUP: Final = "secret"
"""What a pattern calls the part that is redacted."""
_BARE_REST: Final = re.compile(r"""[^\s"'`,;&<>(){}\[\]|\\]*""")
_OPTION: Final = re.compile(r"(?:--[\w-]{0,32}|^(?:ENV|ARG|export|setx|set)[ ]\w{0,24})\Z", re.MULTILINE)


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

    def spans(self, text: str, lowered: str, anchors: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield [start, end) of each secret of this kind, in order, never overlapping.

        Args:
            text: where to look.
            lowered: the same text in lower case, character by character.
            anchors: those of its anchors that stand in the text.
        """
        haystack = lowered if self.ignore_case else text
        free_from = 0
        for position in _positions(haystack, anchors):
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
        # In a list of words everything is in quotes: those around the second of a pair say nothing.
        style: Style = ("spaced" if found["before"] else "bare") if bare or found["pair"] else "quoted"
        if self.gate and not self.gate(Candidate(text[start:end], style, text[end : end + 1])):
            return None
        # Only what is accepted is followed to its end: looking that far at every name would take quadratic time.
        return start, _bare_end(text, end) if bare else end


@dataclass(frozen=True, slots=True)
class FreeRule:
    """One kind of secret by a pattern of RE2 that is searched in the whole text.

    Attributes:
        kind: name in the placeholder.
        pattern: what is searched; linear whatever it and the text are.
        group: number of the group that is redacted; 0 is the whole match.
        gate: judges what was found, or None when the shape is proof.
    """

    kind: str
    pattern: Pattern
    group: int = 0
    gate: Callable[[Candidate], bool] | None = None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield [start, end) of each match, in order, none empty."""
        for found in self.pattern.finditer(encodable(text)):
            start, end = found.span(self.group)
            if start < end and self._is_one(text, start, end):
                yield start, end

    def _is_one(self, text: str, start: int, end: int) -> bool:
        if self.gate is None:
            return True
        style: Style = "bare" if self.group else "shape"
        return self.gate(Candidate(text[start:end], style, text[end : end + 1], text[max(start - 1, 0) : start]))


class RuleSet:
    """Rules in order, with all their anchors side by side: most texts hold none, and that has to be cheap to see."""

    def __init__(self, rules: Sequence[Rule | FreeRule]) -> None:
        self.rules = tuple(rules)
        self.named = tuple(rule for rule in self.rules if isinstance(rule, Rule) and rule.name)
        exact = [(order, anchor) for order, rule in enumerate(self.rules) for anchor in _exact(rule)]
        lower = [(order, anchor) for order, rule in enumerate(self.rules) for anchor in _lower(rule)]
        self._anchors = exact + lower
        self._literals = Literals([anchor for _, anchor in exact], [anchor for _, anchor in lower])

    def spans(self, text: str, lowered: str) -> Iterator[tuple[int, int, int, str]]:
        """Yield start, order of the rule, end and kind of each finding; spans of different rules may overlap.

        Args:
            text: where to look.
            lowered: the same text in lower case, character by character.
        """
        present: dict[int, list[str]] = {}
        for number in self._literals.found(text, lowered):
            order, anchor = self._anchors[number]
            present.setdefault(order, []).append(anchor)
        for order, rule in enumerate(self.rules):
            if isinstance(rule, FreeRule):
                found = rule.spans(text)
            elif order in present:
                found = rule.spans(text, lowered, rule.anchors if rule.requires else present[order])
            else:
                continue
            for start, end in found:
                yield start, order, end, rule.kind


PersonalKind = Literal["email", "phone", "iban", "card", "national-id"]
"""Personal data that can be redacted besides secrets."""


def rule_set(personal: Iterable[PersonalKind] = (), own: Sequence[FreeRule] = ()) -> RuleSet:
    """Return the package's rules for secrets, with those for some kinds of personal data, and a user's own, first."""
    wanted = frozenset(personal)
    if not wanted and not own:
        return packaged_rules()
    people = tuple(rule for rule in read_rules(_packaged("personal.toml")) if rule.kind in wanted)
    return RuleSet((*own, *packaged_rules().rules, *people))


@cache
def packaged_rules() -> RuleSet:
    """Return the rules for secrets that come with the package, most specific first."""
    return RuleSet(read_rules(_packaged("rules.toml")))


def _packaged(name: str) -> dict[str, Any]:
    return tomllib.loads(files("reasoning_bank.privacy").joinpath(name).read_text(encoding="utf-8"))


def read_rules(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Rule | FreeRule, ...]:
    """Return the rules of a parsed rules file of ours, `[[rule]]` tables before `[[assignment]]` tables."""
    shapes = tuple(_shape(table) if "anchors" in table else _free(table) for table in tables.get("rule", ()))
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


def _free(table: Mapping[str, Any]) -> FreeRule:
    pattern = linear(table["pattern"], ignore_case=table.get("ignore_case", False), bounded=True)
    return FreeRule(
        kind=table["kind"],
        pattern=pattern,
        group=pattern.groupindex.get(GROUP, 0),
        gate=GATES[table["gate"]] if "gate" in table else None,
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


def _exact(rule: Rule | FreeRule) -> tuple[str, ...]:
    return () if isinstance(rule, FreeRule) or rule.ignore_case or rule.requires else rule.anchors


def _lower(rule: Rule | FreeRule) -> tuple[str, ...]:
    """The anchors that stand in the lower-cased text; the word a rule requires stands for them all."""
    if isinstance(rule, FreeRule):
        return ()
    if rule.requires:
        return (rule.requires,)
    return rule.anchors if rule.ignore_case else ()


def _positions(haystack: str, anchors: Sequence[str]) -> list[int]:
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
