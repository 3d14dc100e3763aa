"""What a text names: files, symbols, packages, errors, addresses, people, versions; by rules, in linear time.

Every pattern judges one blank-separated chunk of at most 256 characters, or begins at a word and reads a bounded
number of characters, so that no text makes it slow.
"""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields

from reasoning_bank.text.analyser import is_code_name

MOST_OF_A_KIND = 16
"""Entities kept of each kind: a task names a few, a log thousands."""
_LONGEST = 256
_READ = 8_000

_CHUNK = re.compile(r"[^\s,;()\[\]{}<>\"`|*]+")
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"'`\])}]{1,2000}", re.IGNORECASE)
_PATH = re.compile(r"(?:[A-Za-z]:)?[\w.~@+-]*(?:[/\\][\w.@+-]*)+|[\w@+-][\w.@+-]*")
_DOTTED = re.compile(r"[A-Za-z_]\w+(?:(?:\.|::|->|#)[A-Za-z_]\w+)+")
_ERROR = re.compile(
    r"(?:\w+\.){0,8}[A-Z]\w*(?:Error|Exception|Warning|Fault|Panic)|(?:E|TS|CS|LNK|MSB|ORA-|SQLSTATE)\d{3,5}"
)
_VERSION = re.compile(
    r"(?P<mark>v|[=<>~!^]{1,3})?"
    r"(?P<number>\d{1,4}(?:\.\d{1,5}){1,3}(?:[-+.]?(?:a|b|c|rc|alpha|beta|dev|post)[.\d]{0,6})?)"
)
_PINNED = re.compile(r"(?P<name>[A-Za-z][\w.-]*)(?:\[[\w,-]*\])?(?:[=~<>!]=|@\^?)(?P<version>\d[\w.]*)")
_SCOPED = re.compile(r"@[\w-]+/[\w.-]+")
_NAME = re.compile(r"[A-Z][a-z]+(?:[-’'][A-Z][a-z]+)*")
_POSSESSIVE = re.compile(r"[’']s$")
_CODE_NAME = re.compile(r"[\w$@#-]+")
_INSTALLED = re.compile(
    r"\b(?:pip3?|uv|poetry|conda|npm|yarn|pnpm|cargo|gem|go|brew|apt|apt-get)[ \t]{1,4}(?:install|add|get|i)[ \t]{1,4}"
    r"(?:-{1,2}[\w-]{1,20}[ \t]{1,4}){0,3}(?P<name>@?[A-Za-z][\w./-]{0,80})"
)
_IMPORTED = re.compile(
    r"^[ \t]{0,40}(?:from[ \t]{1,4}(?P<origin>\w[\w.]{0,80})[ \t]{1,4}import\b"
    r"|import[ \t]{1,4}(?P<name>\w[\w.]{0,80})(?:[ \t]{1,4}as[ \t]{1,4}\w{1,40})?[ \t]{0,40}$)",
    re.MULTILINE,
)
_MODULE_MISSING = re.compile(r"No module named [\"']?(?P<name>\w[\w.]{0,80})")

_FILE_ENDINGS = frozenset(
    """bash bat bin c cc cfg clj conf cpp cs css csv cxx dart diff doc docx el env ex exs gif go gql gradle
    graphql gz h hpp hs htm html ini ipynb jar java jpeg jpg js json jsonl jsx kt kts less lock log lua md
    mdx mjs ml mod parquet patch pdf php pkl pl png po properties proto ps1 py pyi pyx r rb rs rst sass
    scala scss sh sql sqlite svelte svg swift tar tex tf toml ts tsv tsx txt vue wasm whl xls xlsx xml yaml
    yml zig zip zsh""".split()  # noqa: SIM905 -- a list of words
)
_NO_SYMBOLS = frozenset({"com", "org", "net", "io", "ai", "dev"})
_VERSIONED = frozenset({"version", "versions", "release", "v", "ver", "from", "to"})
_ERRNOS = frozenset(errno.errorcode.values())
_NO_NAMES = frozenset(
    """i monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december english""".split()  # noqa: SIM905 -- twenty quoted words are hard to read
)
_SENTENCE_END = (".", "!", "?", ":", "\n")


@dataclass(frozen=True, slots=True)
class Entities:
    """Names in a text as it writes them, each once, in order, at most `MOST_OF_A_KIND` of a kind.

    Attributes:
        files: names and paths of files.
        symbols: code names: `snake_case`, `CamelCase`, `dotted.names`.
        packages: what is installed, imported or pinned to a version.
        errors: kinds of errors: `ValueError`, `ENOENT`, `E1234`.
        urls: web addresses.
        people: capitalised names inside a sentence; mostly people, and places and products, which no rule tells apart.
        versions: version numbers without their "v".
    """

    files: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether the text names anything."""
        return any(getattr(self, field.name) for field in fields(self))


def find_entities(text: str) -> Entities:
    """What the beginning of a text (8,000 characters) names."""
    text = text[:_READ]
    found: dict[str, dict[str, None]] = {field.name: {} for field in fields(Entities)}
    for kind, name in _named(text):
        if len(found[kind]) < MOST_OF_A_KIND:
            found[kind].setdefault(name)
    return Entities(**{kind: tuple(names) for kind, names in found.items()})


def _named(text: str) -> Iterator[tuple[str, str]]:
    for match in _URL.finditer(text):
        yield "urls", match[0].rstrip(".,;:!?")
    for pattern in (_INSTALLED, _IMPORTED, _MODULE_MISSING):
        for match in pattern.finditer(text):
            yield "packages", next(name for name in match.groups() if name).rstrip(".")
    chunks = _chunks(_URL.sub(" ", text))
    for place, chunk in enumerate(chunks):
        yield from _kinds(chunk.text, chunks[place - 1].text if place else "")
    for name in _people(chunks):
        yield "people", name


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A word or name with the punctuation around it taken off.

    Attributes:
        opens: whether it begins a sentence, where every word has a capital.
        joined: whether only a blank parts it from the chunk before.
    """

    text: str
    opens: bool
    joined: bool


def _chunks(text: str) -> list[_Chunk]:
    chunks: list[_Chunk] = []
    opens, closed, last = True, True, 0
    for match in _CHUNK.finditer(text):
        raw, gap = match[0][:_LONGEST], text[last : match.start()]
        last = match.end()
        bare = raw.strip(".:!?–—’'\\")
        chunk = _POSSESSIVE.sub("", bare)
        ends = raw.endswith(_SENTENCE_END)
        if chunk:
            chunks.append(_Chunk(chunk, opens or "\n" in gap, not closed and gap == " "))
        opens, closed = ends or (opens and not chunk), not raw.endswith(chunk)
    return chunks


def _people(chunks: list[_Chunk]) -> Iterator[str]:
    """Runs of capitalised words inside sentences: "Ada Lovelace"."""
    run: list[str] = []
    for chunk in (*chunks, _Chunk("", opens=True, joined=False)):
        is_name = not chunk.opens and _NAME.fullmatch(chunk.text) and chunk.text.lower() not in _NO_NAMES
        if run and not (is_name and chunk.joined):
            yield " ".join(run)
            run = []
        if is_name:
            run.append(chunk.text)


def _kinds(chunk: str, before: str) -> Iterator[tuple[str, str]]:
    """What one chunk names apart from people; plain lower-case words name nothing."""
    if chunk.isalpha() and chunk.islower():
        return
    if pinned := _PINNED.fullmatch(chunk):
        yield "packages", pinned["name"]
        yield "versions", pinned["version"]
    elif version := _VERSION.fullmatch(chunk):
        if _is_version(version, before):
            yield "versions", version["number"]
    elif kind := _kind(chunk):
        yield kind, chunk


def _kind(chunk: str) -> str:
    if _ERROR.fullmatch(chunk) or chunk in _ERRNOS:
        return "errors"
    if _SCOPED.fullmatch(chunk):
        return "packages"
    if _is_file(chunk):
        return "files"
    return "symbols" if _is_symbol(chunk) else ""


def _is_version(match: re.Match[str], before: str) -> bool:
    """Three parts, a mark, or a name before it: "3.11" alone is a number, and four small parts are an IP address."""
    parts = match["number"].count(".") + 1
    if match["mark"] or parts == 3:
        return True
    return parts == 2 and (before.lower() in _VERSIONED or before[:1].isupper())


def _is_file(chunk: str) -> bool:
    if not _PATH.fullmatch(chunk):
        return False
    name = chunk.replace("\\", "/")
    stem, _, ending = name.rpartition("/")[2].rpartition(".")
    if stem and ending.lower() in _FILE_ENDINGS:
        return True
    is_deep = name.strip("/").count("/") > 1 or name.startswith(("/", "./", "../", "~/"))
    return is_deep and "/" in name and any(letter.isalpha() for letter in name)


def _is_symbol(chunk: str) -> bool:
    if _DOTTED.fullmatch(chunk):
        return chunk.rpartition(".")[2].lower() not in _NO_SYMBOLS
    return is_code_name(chunk) and _CODE_NAME.fullmatch(chunk) is not None
