"""Trying a Chroma directory in a child process before this one opens it, unless it lies as it was left."""

import json
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread

from reasoning_bank.errors import StorageError
from reasoning_bank.vectors import verify

VERIFYING_S = 60.0
"""Opening 100,000 vectors takes a second or two; what takes a minute hangs."""


CLEAN = "left_clean.json"
"""Size and time of every file when the directory was last closed in order; gone while it is open."""


def leave_clean(directory: Path) -> None:
    """Note how a directory was left, after it was closed in order."""
    (directory / CLEAN).write_text(json.dumps(_files(directory)), encoding="utf-8")


def take_clean(directory: Path) -> bool:
    """Return whether a directory lies as `leave_clean` found it, once: a crash from here on leaves it in doubt."""
    note = directory / CLEAN
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
        note.unlink()
    except (OSError, ValueError):
        return False
    return noted == _files(directory)


async def verify_directory(directory: Path, *, timeout_s: float = VERIFYING_S) -> None:
    """Try to open and query a directory of Chroma in a child process, which may die of it.

    Raises:
        StorageError: "damaged", when it is missing, cannot be opened or does not find its own rows.
    """
    place = await anyio.to_thread.run_sync(_absolute, directory)
    if place is None:
        raise StorageError("the directory of the vector index is gone", code="damaged")
    code, said = await _run([sys.executable, "-P", verify.__file__, str(place)], place, timeout_s)
    if code:
        raise StorageError(f"the vector index is damaged: {_reason(code, said)}", code="damaged")


async def _run(command: list[str], place: Path, timeout_s: float) -> tuple[int | None, bytes]:
    # Chroma reads the .env of the directory it starts in: its own has none.
    process = await anyio.open_process(
        command, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    said = b""
    try:
        with anyio.move_on_after(timeout_s):
            said = b"".join([part async for part in process.stdout]) if process.stdout else b""
            await process.wait()
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
                await process.wait()
            await process.aclose()
    return process.returncode, said


def _files(directory: Path) -> dict[str, list[int]]:
    found = sorted(each for each in directory.rglob("*") if each.is_file() and each.name != CLEAN)
    status = {each.relative_to(directory).as_posix(): each.stat() for each in found}
    return {name: [its.st_size, its.st_mtime_ns] for name, its in status.items()}


def _absolute(directory: Path) -> Path | None:
    return directory.absolute() if (directory / "chroma.sqlite3").is_file() else None


def _reason(code: int, said: bytes) -> str:
    if code == verify.DAMAGED:
        return "; ".join(json.loads(said or b"[]"))
    return f"opening it ended with signal {-code}" if code < 0 else f"opening it ended with code {code}"
