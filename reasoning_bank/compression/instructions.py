"""Where a prompt tells its reader what to do: lines that stay, unlike prose that says what must or must never be."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from reasoning_bank.compression.edits import Segment, Span

_LONGEST: Final = 400
"""Characters of a line that may be an instruction."""
_NEAR_AN_END: Final = 1_500
"""Characters at both ends of a prompt where a single imperative is meant for its reader; documents use them too."""

_BULLET: Final = re.compile(r"\s*(?:[-*>•]|\d+[.)])\s+")
_LABEL: Final = (
    r"(?:system(?: prompt| message)?|instructions?|task|goal|questions?|rules?|constraints?|requirements?|important"
    r"|remember|output format|response format|your (?:task|job|goal|role))"
)
_LABELLED: Final = re.compile(rf"[\s>*#]*{_LABEL}\b[^:\n.]{{0,30}}:", re.IGNORECASE)
_HEADS_A_LIST: Final = re.compile(rf"[\s>*#]*{_LABEL}\b[^:\n.]{{0,30}}:[\s*_]*$", re.IGNORECASE)
# Whoever is told "you must", or what "your answer" has to be, is the reader of the prompt.
_ADDRESSED: Final = re.compile(
    r"(?:[-*>#\s]|\d+[.)] )*you (?:are (?:an?|the|now|to|my|not)\b|must|shall|should|will (?:be|get|receive)|may not"
    r"|can ?not|are (?:asked|given|expected|required|forbidden))\b"
    r"|.*\b(?:you|your (?:answers?|response|reply|output|code|solution))\b[^.!?]{0,60}"
    r"\b(?:must|shall|should(?: not|n't)|may only|do not|don't|need to|have to)\b",
    re.IGNORECASE,
)
_DENIED: Final = r"(?:do not|don't|never|always|only)(?! \w*(?:[^e]ed|en|t)\b)\s+[a-z]"
_VERBS: Final = (
    r"(?:answer|return|respond|reply|output|write|use|give|provide|explain|summari[sz]e|fix|list|find|implement"
    r"|describe|translate|generate|complete|think|follow|keep|avoid|consider|read|check|propose|compare|extract|decide"
    r"|refactor|review|solve|state|say|name|make sure|ensure|be (?:sure|brief|concise|precise|careful)|please)\b"
)
_IMPERATIVE: Final = re.compile(rf"[\s>*#]*(?:(?:[-*•]|\d+[.)])\s+)?(?:{_DENIED}|{_VERBS})", re.IGNORECASE)
_SENTENCE_END: Final = re.compile(r"[.!?:;][\"')*_\]]*\s*$")


def instructions(text: str, segment: Segment) -> Iterator[Span]:
    """Yield the lines of a stretch of prose that say what to do, neighbours as one, with their line ends.

    These are: what is labelled as a task or rule, with the list below it; what is said to "you"; lists of imperatives;
    single ones near one of the prompt's ends; and a question that is the first or the last line of all.

    Args:
        text: the whole prompt.
        segment: prose in it.
    """
    lines = text[segment.start : segment.end].split("\n")
    held: Span | None = None
    at = segment.start
    for line, is_told in zip(lines, _told(text, segment.start, lines), strict=True):
        end = min(at + len(line) + 1, segment.end)
        if is_told:
            held = (held[0], end) if held and held[1] == at else (at, end)
        elif held and line.strip():
            yield held
            held = None
        at = end
    if held and held[0] < held[1]:
        yield held


def _told(text: str, at: int, lines: Sequence[str]) -> Iterator[bool]:
    """Yield for each line whether it says what to do."""
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())
    in_list, goes_on = False, False
    for line, in_rules in zip(lines, _in_rules(lines), strict=True):
        end = at + len(line) + 1
        is_at_end = at <= first < end or at < last <= end
        in_list = in_list and (not line.strip() or _BULLET.match(line) is not None or line[:1] in {" ", "\t"})
        is_told = in_list and bool(line.strip())
        if not is_told and line.strip() and len(line) <= _LONGEST:
            is_near = min(at, max(last - at, 0)) < _NEAR_AN_END
            is_told = _instructs(line, is_near=is_near or in_rules, goes_on=goes_on) or (is_at_end and _asks(line))
        in_list = in_list or _HEADS_A_LIST.match(line) is not None
        goes_on = bool(line.strip()) and not _SENTENCE_END.search(line)
        yield is_told
        at = end


def _in_rules(lines: Sequence[str]) -> list[bool]:
    """For each line, whether it is an imperative in a list next to another one: a list of rules, wherever it stands."""
    filled = [at for at, line in enumerate(lines) if line.strip()]
    orders = [bool(_BULLET.match(lines[at]) and _IMPERATIVE.match(lines[at][:_LONGEST])) for at in filled]
    found = [False] * len(lines)
    for at, before, order, after in zip(filled, [False, *orders], orders, [*orders[1:], False], strict=False):
        found[at] = order and (before or after)
    return found


def _instructs(line: str, *, is_near: bool, goes_on: bool) -> bool:
    """Return whether a line tells its reader something; a line within a sentence does not begin one."""
    begins = not goes_on or _BULLET.match(line) is not None
    if begins and (_LABELLED.match(line) or (is_near and _IMPERATIVE.match(line))):
        return True
    return _ADDRESSED.match(line) is not None


def _asks(line: str) -> bool:
    return line.rstrip(" *_\"')\r").endswith(("?", "？"))
