"""Data sets as files: what there is in a directory, and a corpus with the questions asked of it.

A retrieval set is a folder with `corpus.jsonl` (rows as an import reads them) and `queries.jsonl` (`{"id", "text",
"relevant": [corpus id], "metadata": {"workspace", "category"}}`).
"""

import difflib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from reasoning_bank.errors import InputError
from reasoning_bank.text.sanity import strip_invisible
from reasoning_bank.transfer.rows import decode_line, read_row
from reasoning_bank.transfer.values import read_name, read_object, read_text, read_texts

CORPUS, QUERIES = "corpus.jsonl", "queries.jsonl"
LISTED = 20
"""Bad rows an error text shows."""
FORMAT = (
    "a set is a folder with corpus.jsonl and queries.jsonl; a compression set is a file of rows with question, "
    "context and evidence"
)

Scoping = Literal["auto", "workspace", "pool"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SetFiles:
    """What a directory holds.

    Attributes:
        retrieval: folders with a corpus and queries, by set name.
        compression: files of compression rows, by set name.
        incomplete: what is no set, and which file it lacks.
    """

    retrieval: Mapping[str, Path]
    compression: Mapping[str, Path]
    incomplete: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A row of a corpus, as baselines and checks need it; `space` is where in the bank it is searched."""

    id: str
    space: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and the ids of the items that answer it."""

    id: str
    space: str
    text: str
    category: str
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """A corpus and the questions asked of it.

    Attributes:
        base: first part of its workspaces' names in the bank: the set and the digest of its rows, so that a corpus
            that changed never mixes with the old one.
        scoped: whether each workspace of the rows is a workspace of the bank; else all rows are in one.
        rows: the corpus as it is imported: UTF-8, one row per line.
    """

    name: str
    base: str
    scoped: bool
    rows: bytes
    items: tuple[Item, ...]
    queries: tuple[Asked, ...]

    @property
    def spaces(self) -> tuple[str, ...]:
        """The workspaces of the bank that hold its items, in file order."""
        return tuple(dict.fromkeys(item.space for item in self.items))

    def space(self, workspace: str) -> str:
        """The bank's workspace for rows of a workspace."""
        return _space(self.base, workspace, scoped=self.scoped)

    def limited(self, most: int) -> "EvaluationSet":
        """The same set with at most so many of its questions, evenly spaced."""
        return replace(self, queries=tuple(spaced(self.queries, most)))


def find_sets(directory: Path) -> SetFiles:
    """What can be evaluated in a directory: it is a set itself, or holds sets.

    Raises:
        InputError: nothing there is a set; the text says what one looks like.
    """
    retrieval: dict[str, Path] = {}
    compression: dict[str, Path] = {}
    incomplete: list[str] = []
    root = directory.resolve()
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        present = [(folder / name).is_file() for name in (CORPUS, QUERIES)]
        if all(present):
            retrieval[folder.name] = folder
        elif any(present):
            incomplete.append(f"{folder.name} has no {QUERIES if present[0] else CORPUS}")
        compression |= {f"{folder.name}/{file.stem}": file for file in _compression_files(folder)}
    if not retrieval and not compression:
        missing = "".join(f"; {line}" for line in incomplete)
        raise InputError(f"no data set in {directory}{missing}: {FORMAT} (reasoning-bank eval --help shows rows)")
    return SetFiles(retrieval, compression, tuple(incomplete))


def chosen_sets(found: SetFiles, names: Sequence[str]) -> SetFiles:
    """Only the sets named, all of them when none is; raises InputError for a name that is none."""
    if not names:
        return found
    known = [*found.retrieval, *found.compression]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            lacking = next((f": {line}" for line in found.incomplete if line.startswith(f"{name} ")), "")
            meant = f"; did you mean {close[0]!r}?" if close else ";"
            raise InputError(f"no set {name!r}{lacking}{meant} there are: {', '.join(known)}")
    return SetFiles(
        {name: path for name, path in found.retrieval.items() if name in names},
        {name: path for name, path in found.compression.items() if name in names},
        (),
    )


def read_set(name: str, folder: Path, *, scoping: Scoping = "auto", ordered: bool = True) -> EvaluationSet:
    """Read a retrieval set.

    Args:
        name: what to call it.
        folder: holds the corpus and the queries.
        scoping: search each question in its own workspace, or all rows as one pool. `auto` scopes where every
            question is answered from its own workspace only: where one is not, the label is no tenant.
        ordered: False drops session and turn from the rows: who stands beside whom is then unknown.

    Raises:
        InputError: rows are bad; the text lists file, line and reason.
    """
    rows = (folder / CORPUS).read_bytes()
    if not ordered:
        rows = b"".join(_unordered(line) for line in rows.splitlines(keepends=True))
    items = _read_corpus(folder / CORPUS, rows)
    queries = _read_queries(folder / QUERIES, items)
    scoped = scoping == "workspace" or (scoping == "auto" and _answered_at_home(items, queries))
    base = f"{name}@{hashlib.sha256(rows).hexdigest()[:8]}"
    if scoped:
        _check_homes(folder / QUERIES, items, queries)

    def moved(workspace: str) -> str:
        return _space(base, workspace, scoped=scoped)

    return EvaluationSet(
        name=name,
        base=base,
        scoped=scoped,
        rows=rows,
        items=tuple(Item(each.id, moved(each.space), each.text) for each in items),
        queries=tuple(Asked(q.id, moved(q.space), q.text, q.category, q.relevant) for q in queries),
    )


def spaced(rows: Sequence[T], most: int) -> list[T]:
    """At most so many of the rows, evenly spaced, in their order."""
    count = min(most, len(rows))
    return [rows[place * len(rows) // count] for place in range(count)]


def read_rows(path: Path, data: bytes, read: Callable[[bytes, int], T]) -> list[T]:
    """Every line of a file, read; blank lines are skipped.

    Raises:
        InputError: listing all lines that `read` refused, by file and line.
    """
    rows: list[T] = []
    bad: list[str] = []
    for number, line in _lines(data):
        try:
            rows.append(read(line, number))
        except InputError as error:
            bad.append(f"{path} line {number}: {error}")
    refuse(bad)
    if not rows:
        raise InputError(f"{path} has no rows")
    return rows


def refuse(bad: Sequence[str]) -> None:
    """Raise an InputError that lists bad rows, if there are any."""
    if bad:
        shown = "".join(f"\n  {line}" for line in bad[:LISTED])
        more = f"\n  and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
        raise InputError(f"{len(bad)} bad row(s), nothing was evaluated:{shown}{more}")


def _compression_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.glob("*.jsonl")):
        if file.name in (CORPUS, QUERIES):
            continue
        with file.open("rb") as lines:
            first = lines.readline()
        try:
            row = json.loads(first)
        except ValueError:
            continue
        if isinstance(row, dict) and row.keys() >= {"question", "context", "evidence"}:
            yield file


def _read_corpus(path: Path, rows: bytes) -> list[Item]:
    seen: dict[str, int] = {}

    def read(line: bytes, number: int) -> Item:
        row = read_row(line, number=number)
        if row.memory is None:
            return Item("", "", "")  # a line that describes a trace: imported, never an answer
        # An export writes the bank's own id where a memory has no other, and answers show it as such.
        name = strip_invisible(row.memory.item.external_id or row.memory.id or "")
        if name in seen:
            raise InputError(f"id {name!r} is that of line {seen[name]}: ids must be unique in a corpus")
        seen[name] = number
        return Item(name, row.workspace or "", row.memory.item.text)

    return [item for item in read_rows(path, rows, read) if item.id]


def _read_queries(path: Path, items: Sequence[Item]) -> list[Asked]:
    known = {item.id for item in items}

    def read(line: bytes, number: int) -> Asked:
        data = read_object(decode_line(line), "the line")
        metadata = read_object(data.get("metadata") or {}, "metadata")
        text = read_text(data, "text")
        if text is None or not text.strip():
            raise InputError("'text' is missing or empty: it is the question")
        relevant = frozenset(map(strip_invisible, read_texts(data, "relevant")))
        if not relevant:
            raise InputError("'relevant' is missing or empty: it lists the corpus ids that answer the question")
        if unknown := relevant - known:
            raise InputError(f"relevant id {min(unknown)!r} is not in {CORPUS}")
        return Asked(
            id=read_name(data, "id") or str(number),
            space=read_text(metadata, "workspace") or read_text(data, "workspace") or "",
            text=text,
            category=read_name(metadata, "category") or "",
            relevant=relevant,
        )

    return read_rows(path, path.read_bytes(), read)


def _answered_at_home(items: Sequence[Item], queries: Sequence[Asked]) -> bool:
    homes = {item.id: item.space for item in items}
    return all(homes[relevant] == asked.space for asked in queries for relevant in asked.relevant)


def _check_homes(path: Path, items: Sequence[Item], queries: Sequence[Asked]) -> None:
    homes = {item.space for item in items}
    refuse([f"{path} query {q.id}: no row is in its workspace {q.space!r}" for q in queries if q.space not in homes])


def _space(base: str, workspace: str, *, scoped: bool) -> str:
    return f"{base}/{workspace}" if scoped and workspace else base


def _unordered(line: bytes) -> bytes:
    """The line without session and turn; one that is no row stays as it is, to be reported as such."""
    try:
        row = read_object(decode_line(line), "the line")
    except InputError:
        return line
    metadata = row.get("metadata")
    for place in (row, metadata):
        if isinstance(place, dict):
            place.pop("session", None)
            place.pop("turn", None)
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield number, line
