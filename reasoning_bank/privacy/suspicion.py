"""Does a text speak to the assistant that will read it, or hide something from the person who looks at it?

A lesson says something about a task. What gives orders to its reader, asks for what the reader knows, imitates a tool
or cannot be seen is no lesson, whoever sent it: it is kept apart until a person has looked at it. The wordings are in
`suspicion.toml`. Every search takes time by the length of the text.
"""

import base64
import binascii
import html
import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal
from urllib.parse import unquote

from reasoning_bank.records import MemoryItem
from reasoning_bank.text.patterns import Pattern, encodable, linear
from reasoning_bank.text.sanity import strip_invisible

Kind = Literal["instruction", "exfiltration", "tool-call", "hidden-text"]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why a text is to be kept apart.

    Attributes:
        kind: "instruction" speaks to the reader, "exfiltration" asks for what the reader knows, "tool-call" imitates a
            tool, "hidden-text" says one thing to a person and another to a model.
        evidence: what was found, in words, with the beginning of the place.
    """

    kind: Kind
    evidence: str


def suspicion(text: str) -> Suspicion | None:
    """Return why the text is suspicious, or None; all texts of a memory may be given as one, joined by newlines."""
    text = encodable(text)
    visible = strip_invisible(text)
    if found := _wording(visible):
        seen = visible == text or _wording(text)
        return found if seen else _hidden("behind invisible characters", found)
    return _invisible(text) or _covered(visible) or _disguised(visible) or _encoded(visible)


def suspected(item: MemoryItem) -> str | None:
    """Return why a memory item is to be kept apart, as one line with the kind first, or None; all it serves is read."""
    error = item.error_context
    parts = (error.error_type, error.failure_pattern, error.corrective_guidance) if error else ()
    # Where there is nothing else, the text is what is served.
    served = (item.title, item.description, item.content or item.text, item.domain or "", *parts, *item.tags)
    found = suspicion("\n".join(served))
    return f"{found.kind}: {found.evidence}" if found else None


@dataclass(frozen=True, slots=True)
class _Wording:
    kind: Kind
    means: str
    pattern: Pattern


_SHOWN: Final = 80
# A negation turns the first into good advice: "do not ignore the instructions above", "never send your password to …".
_NEGATED: Final = re.compile(
    r"\b(?:do not|don't|does not|must not|should not|never|cannot|can't|not|avoid|instead of)[ ]{1,2}"
    r"(?:simply |just |ever )?"
    r"(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|overrid(?:e|ing)|bypass(?:ing)?|overlook(?:ing)?|discard(?:ing)?"
    r"|dismiss(?:ing)?|neglect(?:ing)?|cancel(?:l?ing)?|send(?:ing)?|forward(?:ing)?|upload(?:ing)?|post(?:ing)?"
    r"|submit(?:ting)?|shar(?:e|ing)|copy(?:ing)?|leak(?:ing)?|steal(?:ing)?|transmit(?:ting)?|e?-?mail(?:ing)?)\b",
    re.IGNORECASE,
)
_ADDRESSED: Final = (
    r"\b(?:ai|llms?|ai[ -](?:assistants?|agents?|models?)|language models?|assistants?|chatbots?|claude|chatgpt|gemini"
    r"|system prompt|(?:ignore|disregard|forget) (?:all|any|the|your|previous|prior|what))\b"
)
_COMMENT: Final = r"(?:<!--|\[//\]: ?# ?\(|\[comment\]: ?)[^>]{0,400}?" + _ADDRESSED
_UNSEEN_STYLE: Final = (
    r"(?:display\s{0,2}:\s{0,2}none|visibility\s{0,2}:\s{0,2}hidden|font-size\s{0,2}:\s{0,2}0"
    r"|opacity\s{0,2}:\s{0,2}0[;\"' .]"
    r"|color\s{0,2}[:=]\s{0,2}[\"']?(?:white|#fff|#ffffff|transparent))[^<>]{0,120}>[^<]{0,300}?" + _ADDRESSED
)
_SQUASHED: Final = (
    r"(?:ignore|disregard|forget|override|bypass)(?:all|any|the|of|your|my|every|these|those){0,3}"
    r"(?:previous|prior|above|earlier|preceding|former|original)(?:system|set|of|safety|your){0,2}"
    r"(?:instructions?|prompts|guidelines|directives)"
    r"|(?:reveal|print|repeat|show)(?:me)?your(?:full|entire|hidden)?(?:systemprompt|initialinstructions)"
    r"|youarenow(?:an?)?(?:dan|jailbroken|unrestricted|unfiltered|uncensored)"
)
_SQUASHED_NEGATION: Final = re.compile(r"(?:donot|dont|never|cannot|cant|mustnot|shouldnot|avoid)\Z")
_NO_LETTER: Final = re.compile(r"[^a-z]+")

_TAGS: Final = re.compile("[\U000e0020-\U000e007f]{2,}")
_FLAG: Final = "\U0001f3f4"
_ZERO_WIDTH: Final = "\u200b\u200c\u200d\u2060-\u2064\ufeff\u180e\ufe00-\ufe0f\U000e0100-\U000e01ef"
_RUN: Final = re.compile(f"[{_ZERO_WIDTH}]{{4,}}")
_BROKEN_WORD: Final = re.compile("[A-Za-z][\u200b\u2060-\u2064\ufeff\u180e]{1,3}(?=[A-Za-z])")
_OVERRIDE: Final = re.compile("[\u202d\u202e]")
_MOST_BROKEN: Final = 3

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{20,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*")
_BASE64_ALPHABET: Final = str.maketrans({"\n": None, "\r": None, "-": "+", "_": "/"})
_HEX: Final = re.compile(r"(?:(?:\\x|0x|%)?[0-9a-fA-F]{2}[ ,:]?){12,}")
_HEX_JOINTS: Final = re.compile(r"\\x|0x|[ ,:%]")
_FOREIGN: Final = "аеорсухіјѕԁһӏАВЕКМНОРСТУХІЅΑΒΕΖΗΙΚΜΝΟΡΤΥΧαοριυν"
_LATIN: Final = "aeopcyxijsdhlABEKMHOPCTYXISABEZHIKMNOPTYXaopiuv"
_DIGITS: Final = str.maketrans("013457@$", "oieastas")
# Letters that only look different: mathematical, full-width, circled, squared, small capitals.
_STYLED: Final = ((0x1D00, 0x1DC0), (0x2070, 0x20A0), (0x2100, 0x2190), (0x2460, 0x2500), (0xFF01, 0xFF5F))
_STYLED_BEYOND: Final = ((0x1D400, 0x1D800), (0x1F130, 0x1F18A))


@cache
def _wordings() -> tuple[_Wording, ...]:
    source = files("reasoning_bank.privacy").joinpath("suspicion.toml").read_text(encoding="utf-8")
    tables: list[dict[str, Any]] = tomllib.loads(source)["wording"]
    return tuple(_Wording(table["kind"], table["means"], _any(table["patterns"])) for table in tables)


def _any(patterns: list[str]) -> Pattern:
    return linear("|".join(f"(?:{pattern})" for pattern in patterns), ignore_case=True, bounded=True)


@cache
def _unseen() -> Pattern:
    return _any([_COMMENT, _UNSEEN_STYLE])


@cache
def _squashed() -> Pattern:
    return linear(_SQUASHED, bounded=True)


@cache
def _folding() -> dict[int, str]:
    ranges = (code for first, last in _STYLED + _STYLED_BEYOND for code in range(first, last))
    plain = {code: unicodedata.normalize("NFKC", chr(code)) for code in ranges}
    folding = {code: letter for code, letter in plain.items() if letter.isascii() and letter.isprintable()}
    return folding | {ord(foreign): latin for foreign, latin in zip(_FOREIGN, _LATIN, strict=True)}


def _wording(text: str) -> Suspicion | None:
    asked = _NEGATED.sub("", text)
    for wording in _wordings():
        if found := wording.pattern.search(asked):
            return Suspicion(wording.kind, f"{wording.means}: {_shown(asked, found.span())!r}")
    return None


def _shown(text: str, span: tuple[int, int]) -> str:
    return " ".join(text[span[0] : min(span[1], span[0] + _SHOWN)].split())


def _hidden(how: str, found: Suspicion) -> Suspicion:
    return Suspicion("hidden-text", f"{how}, {found.evidence}")


def _invisible(text: str) -> Suspicion | None:
    if text.isascii():
        return None
    if tags := next((tags for tags in _TAGS.finditer(text) if text[tags.start() - 1 : tags.start()] != _FLAG), None):
        said = "".join(chr(ord(character) - 0xE0000) for character in tags[0][:_SHOWN])
        return Suspicion("hidden-text", f"letters that only a model can read: {said!r}")
    if run := _RUN.search(text):
        return Suspicion("hidden-text", f"{len(run[0])} invisible characters in a row at position {run.start()}")
    if override := _OVERRIDE.search(text):
        return Suspicion("hidden-text", f"a mark that turns the order of letters round at position {override.start()}")
    broken = _BROKEN_WORD.findall(text)
    if len(broken) >= _MOST_BROKEN:
        return Suspicion("hidden-text", f"words broken up by invisible characters at {len(broken)} places")
    return None


def _covered(text: str) -> Suspicion | None:
    if "<" not in text and "[" not in text:
        return None
    if found := _unseen().search(text):
        return Suspicion(
            "hidden-text", f"markup that is not shown speaks to the reader: {_shown(text, found.span())!r}"
        )
    return None


def _disguised(text: str) -> Suspicion | None:
    folded = text if text.isascii() else text.translate(_folding())
    if folded != text and (found := _wording(folded)):
        return _hidden("in letters that only look Latin", found)
    for plain in (folded.lower(), folded.lower().translate(_DIGITS)):
        letters = _NO_LETTER.sub("", plain)
        found = _squashed().search(letters)
        if found and not _SQUASHED_NEGATION.search(letters[: found.span()[0]]):
            return Suspicion(
                "hidden-text", f"letters spread or replaced by digits spell {_shown(letters, found.span())!r}"
            )
    return None


def _encoded(text: str) -> Suspicion | None:
    for how, said in _readings(text):
        if found := _wording(strip_invisible(encodable(said))):
            return _hidden(how, found)
    return None


def _readings(text: str) -> Iterator[tuple[str, str]]:
    """Yield what the text says when it is decoded, where it can be."""
    if "&#" in text or "&lt" in text:
        yield "in HTML entities", html.unescape(text)
    if "%" in text:
        yield "percent-encoded", unquote(text, errors="replace")
    yield "in base64", "\n".join(filter(None, map(_from_base64, _BASE64.findall(text))))
    yield "in hex digits", "\n".join(filter(None, map(_from_hex, _HEX.findall(text))))


def _from_base64(run: str) -> str:
    run = run.translate(_BASE64_ALPHABET)
    try:
        return _readable(base64.b64decode(run + "=" * (-len(run) % 4)))
    except (binascii.Error, ValueError):
        return ""


def _from_hex(run: str) -> str:
    try:
        return _readable(bytes.fromhex(_HEX_JOINTS.sub("", run)))
    except ValueError:
        return ""


def _readable(said: bytes) -> str:
    """The text, or "" for bytes that are none."""
    try:
        text = said.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return text if " " in text.strip() else ""
