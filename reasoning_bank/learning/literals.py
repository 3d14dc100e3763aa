"""Literals in a text: what names one thing exactly, and what of it belongs to one task only."""

import re
from typing import Final

_QUOTED: Final = re.compile(r"`([^`\n]{1,400})`")
# Outside of backticks: calls, snake_case and camelCase names, options, paths with a name that is no plain word, and
# what holds digits. A slash between plain words ("and/or") is language, not a path.
_BARE: Final = re.compile(
    r"(?<![\w`])(?:--\w[\w-]{1,80}"
    r"|[\w.$-]{1,100}\(\)"
    r"|~?/?(?:[\w.$@~-]{1,80}/){1,20}[\w.$@~-]{1,80}"
    r"|\w{1,60}(?:_\w{1,60}){1,10}"
    r"|[a-z]{2,40}[A-Z]\w{1,60}"
    r"|[\w.:,#-]{0,60}\d[\w.:,#-]{0,60})"
)
_PLAIN_PATH: Final = re.compile(r"[A-Za-z-]+(?:/[A-Za-z-]+){1,2}")
_EDGES: Final = ".,:;!?-…'\"()[]{}"
_COMMON_NUMBER: Final = re.compile(r"(?:10|\d)(?:st|nd|rd|th|x|s)?")

_OWN: Final = re.compile(
    r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"  # a UUID
    r"|\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b"  # an address
    r"|\bhttps?://[^\s'\"<>)]{1,400}"
    r"|(?<![\w/])/(?:tmp|home|Users|var/folders)/[^\s'\"`:,)]{1,300}"
    r"|\b\d{4}-\d\d-\d\dT[\d:.]{4,15}Z?"
    r"|#[A-Za-z]{0,3}\d{3,}\b"  # an order or ticket
    r"|\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{8,64}\b"  # a digest or a commit
    r"|\b[A-Z]{1,3}-?\d{5,}\b|(?<![\d.,])\d{5,}(?![\d.,]*\d)"
    r"|(?<=_)\d{4,}\b"
)


def literals(text: str) -> list[str]:
    """Return every literal of a text once, in order: the words of what stands in backticks, and bare ones.

    Numbers up to ten are no literals: they count steps.
    """
    quoted = [word for quote in _QUOTED.findall(text) for word in quote.split() if len(word) > 2]
    bare = (found.strip(_EDGES) for found in _BARE.findall(_QUOTED.sub(" ", text)))
    named = [word for word in bare if len(word) > 1 and not _COMMON_NUMBER.fullmatch(word)]
    return list(dict.fromkeys([*quoted, *(word for word in named if not _PLAIN_PATH.fullmatch(word))]))


def generalised(text: str) -> str:
    """Return a title or description with "…" for what names a thing of one task only: ids, addresses, digests.

    Names of code and versions stay: they are what a lesson is about.
    """
    shown = _OWN.sub("…", text)
    return re.sub(r"…(?:[ ,]{0,2}…)+", "…", shown) if shown != text else text
