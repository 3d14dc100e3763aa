"""Which files were hashed already, so that a start does not read 90 MB again."""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self, cast


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file looked like when its bytes were hashed.

    Attributes:
        size: bytes.
        mtime_ns: modification time, nanoseconds.
        sha256: hex digest of its bytes, or empty when not hashed yet.
        source: where it came from and its licence, for people.
    """

    size: int
    mtime_ns: int
    sha256: str = ""
    source: str = ""

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """How a file looks now, or None when there is none."""
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return cls(found.st_size, found.st_mtime_ns)

    def matches(self, now: "Stamp", sha256: str) -> bool:
        """Whether a file that looks like `now` is the one that was hashed to `sha256`."""
        return (self.size, self.mtime_ns, self.sha256) == (now.size, now.mtime_ns, sha256)


class Stamps:
    """The stamps of one directory, in a JSON file that may be deleted at any time: then files are hashed again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Stamp] | None = None

    def get(self, key: str) -> Stamp | None:
        """The stamp of a file, if it was ever hashed."""
        if self._known is None:
            self._known = self._read()
        return self._known.get(key)

    def put(self, stamps: Mapping[str, Stamp]) -> None:
        """Keeps stamps; in a directory that cannot be written they last for this process only."""
        # Read again: another process may have added its own. A lost update costs one hashing, never a wrong answer.
        self._known = self._read() | (self._known or {}) | dict(stamps)
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        with contextlib.suppress(OSError):
            text = json.dumps({key: asdict(stamp) for key, stamp in sorted(self._known.items())}, indent=1)
            part.write_text(text, encoding="utf-8")
            part.replace(self._path)

    def forget(self) -> None:
        """Makes every file be hashed again; where it came from stays known."""
        self._known = {key: replace(stamp, sha256="") for key, stamp in self._read().items()}

    def _read(self) -> dict[str, Stamp]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            return {key: Stamp(**fields) for key, fields in cast("dict[str, dict[str, str]]", content).items()}  # pyright: ignore[reportArgumentType]
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
