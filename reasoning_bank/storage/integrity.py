"""Whether the bank's file is sound, in SQLite's eyes and in ours."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Integrity:
    """The result of a check: `problems` is empty when all is well."""

    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(path: Path, *, quick: bool = False) -> Integrity:
    """Checks the file without changing it; seconds per gigabyte, less when `quick` (which skips the indexes).

    Never raises for a bad file: what is wrong with it is the answer.
    """
    if not path.exists():
        return Integrity(("there is no such file",))
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            return Integrity(tuple(_problems(connection, quick=quick)))
    except sqlite3.Error as error:
        return Integrity((f"SQLite cannot read it: {error}",))


def _problems(connection: sqlite3.Connection, *, quick: bool) -> list[str]:
    pragma = "quick_check" if quick else "integrity_check"
    found = [text for (text,) in connection.execute(f"PRAGMA {pragma}({_MOST_PROBLEMS})") if text != "ok"]
    orphans = connection.execute("PRAGMA foreign_key_check").fetchmany(_MOST_PROBLEMS)
    found += [f"row {row} of {table} points to a missing row of {parent}" for table, row, parent, _ in orphans]
    for problem, query in _OURS.items():
        (count,) = connection.execute(query).fetchone()
        if count:
            found.append(f"{count} {problem}")
    return found


_OURS = {
    "memories without terms": (
        "SELECT count(*) FROM memories WHERE NOT EXISTS (SELECT 1 FROM memory_terms WHERE memory = memories.seq)"
    ),
    "memories that no change tells of": (
        "SELECT count(*) FROM memories AS m WHERE NOT EXISTS (SELECT 1 FROM change_log AS c"
        " WHERE c.workspace = m.workspace AND c.memory_id = m.id AND c.op = 'insert')"
    ),
    "vectors of a wrong length": "SELECT count(*) FROM embeddings WHERE length(vector) != 4 * dim",
}
