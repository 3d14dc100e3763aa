"""Where a figure was measured: machine, versions, commit, load."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results")
PACKAGES = ("mcp", "httpx2", "chromadb", "numpy", "onnxruntime", "sqlalchemy", "pydantic")


def evaluation_data() -> Path | None:
    """Where the evaluation sets are (REASONING_BANK_EVAL_DATA); None, said on stderr, where they are not."""
    data = Path(os.environ.get("REASONING_BANK_EVAL_DATA", REPOSITORY.parent / "shared" / "data" / "dev"))
    if data.is_dir():
        return data
    print(f"skipped: no evaluation data in {data} (set REASONING_BANK_EVAL_DATA)", file=sys.stderr)
    return None


def machine() -> dict[str, Any]:
    """What a reader needs to judge a figure."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_1_min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, encoding="utf-8", check=False
    )
    return done.stdout.strip()
