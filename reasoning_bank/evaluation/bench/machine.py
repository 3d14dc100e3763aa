"""What a reader needs to judge a figure: processor, cores, load, versions."""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("reasoning-bank", "mcp", "httpx2", "chromadb", "numpy", "onnxruntime", "sqlalchemy", "pydantic")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a figure was measured.

    Attributes:
        cpu: name of the processor.
        cores: of the machine.
        load_1_min: processes that wanted a core during the last minute, on average; None where no system tells.
        python: its version.
        system: operating system and architecture.
        versions: of the packages that matter.
        commit: that of the checkout the package is run from, with "-dirty" where files differ from it; "" elsewhere.
    """

    cpu: str
    cores: int
    load_1_min: float | None
    python: str
    system: str
    versions: Mapping[str, str]
    commit: str = ""


def machine() -> Machine:
    """This machine, and what it does besides."""
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        load_1_min=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        versions={name: metadata.version(name) for name in _PACKAGES},
        commit=_commit(Path(__file__).parents[3]),
    )


def _commit(checkout: Path) -> str:
    git = shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return ""
    command = [git, "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=checkout, capture_output=True, encoding="utf-8", check=False).stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
