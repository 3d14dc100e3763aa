"""The one door through which bytes become an asset: written beside, hashed, then renamed into place."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reasoning_bank.assets.catalog import Asset, AssetFile
from reasoning_bank.errors import AssetError

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one source has come with one asset.

    Attributes:
        asset: name of the asset.
        source: where the bytes come from, for people.
        done: bytes so far.
        total: bytes in all.
    """

    asset: str
    source: str
    done: int
    total: int


ProgressCallback = Callable[[Progress], object]


@dataclass(frozen=True, slots=True)
class Order:
    """What a source is asked to deliver.

    Attributes:
        missing: files of the asset that are not there or not right.
        folder: where verified files go.
        scratch: folder on the same file system for unfinished files; it survives a kill.
        progress: called now and then from the installing thread.
    """

    asset: Asset
    missing: tuple[AssetFile, ...]
    folder: Path
    scratch: Path
    progress: ProgressCallback

    def target(self, file: AssetFile) -> Path:
        """Where a file of this order belongs."""
        return self.folder / file.path


Source = Callable[[Order], None]
"""Delivers every missing file of an order, or raises AssetError with the reason."""


def sha256_of(path: Path) -> str:
    """The sha256 hex digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def place_copy(stream: IO[bytes], file: AssetFile, order: Order) -> None:
    """Copies a stream into place if, and only if, its bytes are the expected ones.

    Raises:
        AssetError: the sha256 differs; nothing is left behind.
    """
    order.scratch.mkdir(parents=True, exist_ok=True)
    part = order.scratch / f"{file.sha256}.{os.getpid()}.copy"
    try:
        with part.open("wb") as target:
            while block := stream.read(_BLOCK):
                target.write(block)
        place_part(part, file, order)
    finally:
        part.unlink(missing_ok=True)


def place_part(part: Path, file: AssetFile, order: Order) -> None:
    """Renames a finished part into place after its hash was checked; a wrong part is deleted.

    The rename is atomic: a reader sees the whole file or none, and the last of several writers wins, with equal bytes.

    Raises:
        AssetError: the sha256 differs.
    """
    found = sha256_of(part)
    if found != file.sha256:
        part.unlink(missing_ok=True)
        raise AssetError(f"{file.path} has sha256 {found}, expected {file.sha256}")
    target = order.target(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)
