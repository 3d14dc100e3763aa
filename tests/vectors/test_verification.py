"""A damaged directory is found out by a child process, whatever that costs the child."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from reasoning_bank.errors import StorageError
from reasoning_bank.vectors import verify
from reasoning_bank.vectors.generation import Build, Generation
from reasoning_bank.vectors.verification import CLEAN, leave_clean, take_clean, verify_directory

from .conftest import MODEL, named, unit

PERSISTED = 1100
"""Chroma writes its HNSW files for the first time after 1,000 rows."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with vectors in HNSW files and some that are only in its log."""
    directory = tmp_path_factory.mktemp("sound") / "000001"
    generation = Generation(directory, Build(1, MODEL), batch_size=PERSISTED, timeout_s=5)
    generation.create()
    generation.apply("w", named(unit(1, PERSISTED)), [], seq=1)
    generation.close()
    return directory


@pytest.fixture
def copied(sound: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "000001"))


def cut(name: str) -> Callable[[Path], None]:
    """Return damage that leaves the first half of a file."""

    def damage(directory: Path) -> None:
        (file,) = directory.rglob(name)
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])

    return damage


def overwrite(name: str) -> Callable[[Path], None]:
    """Return damage that leaves other bytes in a file."""

    def damage(directory: Path) -> None:
        (file,) = directory.rglob(name)
        file.write_bytes(b"\x00\xff" * (file.stat().st_size // 2))

    return damage


def spoil(directory: Path) -> None:
    """Damage: a header that says there is no room for a vector, which ends the process that believes it."""
    (file,) = directory.rglob("header.bin")
    file.write_bytes(file.read_bytes()[:50] + b"\xff" * 50)


def inflate(directory: Path) -> None:
    """Damage: the runaway growth of links that Chroma is known for, as a sparse file."""
    (file,) = directory.rglob("link_lists.bin")
    size = file.with_name("data_level0.bin").stat().st_size
    with file.open("ab") as links:
        links.truncate(size * 11)


async def test_a_sound_directory_passes(copied: Path) -> None:
    await verify_directory(copied)


async def test_a_missing_directory_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gone"):
        await verify_directory(tmp_path / "nothing")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(cut("header.bin"), id="header cut"),
        pytest.param(cut("data_level0.bin"), id="level 0 cut"),
        pytest.param(overwrite("data_level0.bin"), id="level 0 overwritten"),
        pytest.param(cut("index_metadata.pickle"), id="metadata cut"),
        pytest.param(overwrite("chroma.sqlite3"), id="database overwritten"),
        pytest.param(inflate, id="links out of bounds"),
    ],
)
async def test_damage_is_found_out(copied: Path, damage: Callable[[Path], None]) -> None:
    damage(copied)
    with pytest.raises(StorageError, match="damaged") as caught:
        await verify_directory(copied)
    assert caught.value.code == "damaged"


async def test_damage_that_ends_the_process_ends_only_the_child(copied: Path) -> None:
    spoil(copied)
    with pytest.raises(StorageError, match="signal"):
        await verify_directory(copied)


async def test_a_check_that_hangs_is_ended(copied: Path) -> None:
    with anyio.fail_after(20), pytest.raises(StorageError, match="damaged"):
        await verify_directory(copied, timeout_s=0.01)


def test_a_check_whose_parent_is_gone_gives_up(copied: Path) -> None:
    command = [sys.executable, "-P", verify.__file__, str(copied)]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, timeout=20, check=False).returncode == verify.ABANDONED


def test_a_directory_left_in_order_is_believed_once(copied: Path) -> None:
    assert not take_clean(copied)
    leave_clean(copied)
    assert take_clean(copied)
    assert not take_clean(copied)


def test_a_directory_that_was_touched_since_is_not_believed(copied: Path) -> None:
    leave_clean(copied)
    (copied / "chroma.sqlite3").touch()
    assert not take_clean(copied)
    leave_clean(copied)
    next(copied.rglob("length.bin")).unlink()
    assert not take_clean(copied)
    (copied / CLEAN).write_text("{", encoding="utf-8")
    assert not take_clean(copied)
