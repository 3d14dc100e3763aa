"""The terms a memory is found by: stemmed words, pairs of neighbouring words, identifiers.

One analyser for items and queries, so that both sides agree. A term is stored as a 64-bit key and a count,
in one packed blob per memory, so that a process builds its index of 100,000 memories without touching text.
"""

import hashlib
import re
import struct
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Literal, Protocol, cast

import snowballstemmer

from reasoning_bank.records import MemoryItem
from reasoning_bank.text.fields import indexed_text
from reasoning_bank.text.irregular import BASE_FORM
from reasoning_bank.text.telling import asking_share, stated

ANALYSER_VERSION = 2
"""Raised whenever the same text would give other terms: stored terms of another version are made anew."""

Kind = Literal["word", "pair", "identifier", "path", "tag", "title"]
KINDS: tuple[Kind, ...] = ("word", "pair", "identifier", "path", "tag", "title")
"""Kinds of terms by their number, the topmost bits of a key; the first four are scored, and have lengths."""
KIND_SHIFT = 61

# The closed-class words of English: they say how a sentence is built, not what it is about.
STOP_WORDS = frozenset(
    """a an and are as at be been but by can could did do does for from had has have he her here him his how i if in
    is it its me my no not of on or our she should so than that the their them then there they this to us was we were
    what when where which who why will with would you your""".split()  # noqa: SIM905 -- 80 quoted words in a row are hard to read
)

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_IDENTIFIER = re.compile(r"\w+(?:[./]+\w+)*")
_FILE_PATH = re.compile(r"(?<![\w:/-])(?:[\w-]+/)+[\w-]+\.[A-Za-z]\w{0,4}\b")
_DIFF_SIDE = re.compile(r"^[ab]/")
_PATH_JOINT = re.compile(r"[./]+")
_CASE_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_INNER_CAPITAL = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2}[a-z]")
_CJK = re.compile(r"[぀-ヿ㐀-䶿一-鿿가-힯豈-﫿]+")
_PARENTHESES = re.compile(r"\([^)]*\)")
_CODE_CHARACTERS = re.compile(r"[(){}\[\]=_<>;:/\\.#@|*+&%$\"`]")
# Nothing people write as one word is longer; a base64 blob must not cost a stemmer run over 64 KiB.
_LONGEST_WORD = 64
_SHORTEST_IDENTIFIER = 4
_SHORTEST_PLACE = 3
_FIRST_LINE = 300
# No model reads further, and 64 KiB of words never seen before take half a second to stem.
_QUERY_READ = 4_000
LONGEST_TITLE = 8
"""Words up to which a title can link memories: longer ones are sentences, which nobody repeats word for word."""
PHRASE_BASE = 0x9E3779B97F4A7C15
"""The odd multiplier of `title_key`: 2^64 over the golden ratio, whose bits are well spread."""

_KIND_BITS: Mapping[Kind, int] = {kind: number << KIND_SHIFT for number, kind in enumerate(KINDS)}
_HASH_MASK = (1 << KIND_SHIFT) - 1
_KEY_MASK = (1 << 64) - 1
_ROW = struct.Struct("<QI")
_SHARE_SCALE = 1_000_000

TOLD_ENOUGH = 15
"""Words from which a text is long enough to tell something: more are not counted."""
HEADER_ROWS = 4
"""Rows of a packed blob before its terms: (asks, words), (millionths asked, pairs), (millionths of code, identifiers),
(words told, places)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What keyword search needs of one memory or query.

    Attributes:
        words: stemmed words, and identifiers whole and split, with how often each occurs; no stop words.
        pairs: neighbouring stemmed words, stop words kept, joined by a blank.
        identifiers: code names and paths (of a memory: in its content), lower case, whole and in parts.
        places: words of the file paths in a memory's content; of a query of several lines, all its words.
        code_share: share of characters that are code punctuation, 0..1; prose is about .015, code about .12.
        title: the title in plain lower-case words when it can link items, else "".
        asks: whether the text asks something: what follows in its session is likely the answer.
        asking: share of the text that only asks, 0..1; 0 for a memory with content, which answers it.
        told: words of what it states, at most `TOLD_ENOUGH`; a memory with content tells enough.
        tags: labels to filter by, casefolded; never scored.
    """

    words: Mapping[str, int]
    pairs: Mapping[str, int]
    identifiers: Mapping[str, int]
    places: Mapping[str, int] = field(default_factory=dict[str, int])
    code_share: float = 0.0
    title: str = ""
    asks: bool = False
    asking: float = 0.0
    told: int = TOLD_ENOUGH
    tags: frozenset[str] = frozenset()

    def packed(self) -> bytes:
        """The terms as little-endian rows of 12 bytes (uint64 key, uint32 count): `HEADER_ROWS`, then one per term."""
        rows = [
            (int(self.asks), self.words),
            (round(self.asking * _SHARE_SCALE), self.pairs),
            (round(self.code_share * _SHARE_SCALE), self.identifiers),
            (self.told, self.places),
        ]
        header = [_ROW.pack(value, sum(counts.values())) for value, counts in rows]
        return b"".join(header) + b"".join(_ROW.pack(key, count) for key, count in self.keys())

    def keys(self) -> Iterator[tuple[int, int]]:
        """Every term as (key, count)."""
        scored: tuple[tuple[Kind, Mapping[str, int]], ...]
        scored = (("word", self.words), ("pair", self.pairs), ("identifier", self.identifiers), ("path", self.places))
        for kind, counts in scored:
            for term, count in counts.items():
                yield term_key(kind, term), count
        for tag in sorted(self.tags):
            yield term_key("tag", tag), 1
        if self.title:
            yield title_key(self.title.split()), 1


def analyse(item: MemoryItem) -> Terms:
    """The terms a memory is stored and found with."""
    text = indexed_text(item)
    return Terms(
        words=Counter(words(text)),
        pairs=Counter(pairs(text)),
        identifiers=Counter(identifiers(item.content)),
        places=dict.fromkeys(places(item.content), 1),
        code_share=code_share(item.text),
        title=_linking_title(item),
        asks="?" in item.text,
        asking=0.0 if item.content.strip() else asking_share(item.text),
        told=TOLD_ENOUGH if item.content.strip() else _told(item.text),
        tags=frozenset(tag.casefold() for tag in item.tags),
    )


def analyse_query(text: str, *, whole: bool = False) -> Terms:
    """The terms of a query: words and pairs of its main line (or, `whole`, of all lines), the others of all of it."""
    read = text[:_QUERY_READ]
    line = read if whole else main_line(text)[:_QUERY_READ]
    # One line says what is wanted; only a report of several lines names places in passing.
    is_report = main_line(text) != text.strip()
    return Terms(
        words=Counter(words(line)),
        pairs=Counter(pairs(line)),
        identifiers=dict.fromkeys(identifiers(text), 1),
        places=dict.fromkeys([*words(read), *plain_title_words(read)], 1) if is_report else {},
    )


def main_line(text: str) -> str:
    """The line that says what a text is about: of several lines the first (at most 300 characters), else the text."""
    lines = text.strip().splitlines()
    return lines[0].strip()[:_FIRST_LINE] if len(lines) > 1 else text.strip()


def words(text: str) -> list[str]:
    """Stemmed words in order, without stop words; identifiers whole and in parts; CJK runs as character pairs."""
    return [term for word in _plain_words(text) for term in _known_terms(word)]


def pairs(text: str) -> list[str]:
    """Neighbouring words, each stemmed, stop words kept: "go to", "to the"."""
    stems = [_stem(word.lower()) for word in _plain_words(text) if not _CJK.search(word)]
    return [f"{first} {second}" for first, second in pairwise(stems)]


def identifiers(text: str) -> list[str]:
    """Code names: words with `_` or inner capitals or joined by `.` or `/`, whole and split there, lower case."""
    return [name for match in _IDENTIFIER.findall(text) for name in _identifier_terms(match)]


def places(text: str) -> list[str]:
    """Words of the file paths of a text, stemmed, and each file's name whole: lib/_axes.py has lib, axe and _axes.

    Where a thing was done is told by its path, and a question names the place in words of its own.
    """
    found: list[str] = []
    # A diff names the old and the new file: a/… and b/….
    for path in dict.fromkeys(_DIFF_SIDE.sub("", each) for each in _FILE_PATH.findall(text)):
        name = path.rpartition(".")[0]
        found.append(name.rpartition("/")[2].lower())
        parts = (part.lower() for part in _CASE_PARTS.findall(name[: _LONGEST_WORD * 4]))
        found += [_stem(part) for part in parts if len(part) >= _SHORTEST_PLACE and part not in STOP_WORDS]
    return found


def plain_title_words(text: str) -> list[str]:
    """Words as titles are compared: lower case, unstemmed, in order."""
    return [word.lower() for word in _plain_words(text)]


def code_share(text: str) -> float:
    """Share of a text's characters that are code punctuation, 0..1."""
    return len(_CODE_CHARACTERS.findall(text)) / len(text) if text else 0.0


def term_key(kind: Kind, term: str) -> int:
    """A term's 64-bit key: three bits say which kind, 61 are a hash (10 million terms collide with odds 2e-5)."""
    digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return _KIND_BITS[kind] | (int.from_bytes(digest, "little") & _HASH_MASK)


def title_key(title: Sequence[str]) -> int:
    """The 64-bit key of a title's words: a polynomial in the words' keys, so that the phrases of a text roll."""
    key = 0
    for word in title:
        key = (key * PHRASE_BASE + word_key(word)) & _KEY_MASK
    return _KIND_BITS["title"] | (key & _HASH_MASK)


@lru_cache(maxsize=1 << 14)
def word_key(word: str) -> int:
    """The 64-bit key of one plain word within a phrase."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _plain_words(text: str) -> list[str]:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text)


def _known_terms(word: str) -> Iterable[str]:
    # Texts say the same words again and again; long ones are rarely words, and take room.
    return _short_word_terms(word) if len(word) <= _LONGEST_WORD else _word_terms(word)


@lru_cache(maxsize=1 << 15)
def _short_word_terms(word: str) -> tuple[str, ...]:
    return tuple(_word_terms(word))


def _word_terms(word: str) -> Iterable[str]:
    if not word.isascii() and _CJK.search(word):
        return _cjk_terms(word)
    lowered = word.lower()
    if lowered in STOP_WORDS:
        return ()
    stems = [_stem(BASE_FORM.get(lowered, lowered))]
    if "_" in word or _INNER_CAPITAL.search(word):
        parts = (part.lower() for part in _CASE_PARTS.findall(word[: _LONGEST_WORD * 4]))
        stems += [_stem(part) for part in parts if part not in STOP_WORDS]
    return stems


def _cjk_terms(word: str) -> Iterator[str]:
    # These scripts write no blanks: pairs of characters stand for words.
    for run in _CJK.findall(word):
        yield from (run[i : i + 2] for i in range(max(1, len(run) - 1)))
    for rest in _CJK.split(word):
        if rest:
            yield from _word_terms(rest)


def _identifier_terms(name: str) -> Iterator[str]:
    parts = _PATH_JOINT.split(name)
    joined = len(parts) > 1
    if len(name) >= _SHORTEST_IDENTIFIER and (joined or is_code_name(name)):
        yield name.lower()
    if joined:
        yield from (part.lower() for part in parts if len(part) >= _SHORTEST_IDENTIFIER)


def is_code_name(word: str) -> bool:
    """Whether a word is written as code writes names: `snake_case`, `camelCase`, `HTTPServer`."""
    return "_" in word.strip("_") or bool(_INNER_CAPITAL.search(word))


def _told(text: str) -> int:
    return min(len(words(stated(text))), TOLD_ENOUGH)


def _linking_title(item: MemoryItem) -> str:
    if item.title.strip() == item.text.strip():
        return ""
    # Beyond the last ")" the end of each "(" would be looked for in vain, up to the end.
    closed, last, rest = item.title.rpartition(")")
    title = plain_title_words(_PARENTHESES.sub(" ", closed + last) + rest)
    return " ".join(title) if len(title) <= LONGEST_TITLE else ""


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    word = word.replace("’", "'")
    if len(word) > _LONGEST_WORD:
        return word[:_LONGEST_WORD]
    return _own.stemmer.stemWord(word) if word.isascii() else word


class _Stemmer(Protocol):
    """The one method used of snowballstemmer, which has no types."""

    def stemWord(self, word: str) -> str: ...  # noqa: N802 -- the library's name


class _PerThread(threading.local):
    """A stemmer keeps the word it works on in itself, so no two threads may share one."""

    def __init__(self) -> None:
        self.stemmer = cast("_Stemmer", snowballstemmer.stemmer("english"))  # pyright: ignore[reportUnknownMemberType] -- untyped


_own = _PerThread()
