"""Where a figure was measured: machine, versions, commit, load."""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reasoning_bank.evaluation.bench.machine import machine as measured_on

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results")


def evaluation_data() -> Path | None:
    """Where the evaluation sets are (REASONING_BANK_EVAL_DATA); None, said on stderr, where they are not."""
    data = Path(os.environ.get("REASONING_BANK_EVAL_DATA", REPOSITORY.parent / "shared" / "data" / "dev"))
    if data.is_dir():
        return data
    print(f"skipped: no evaluation data in {data} (set REASONING_BANK_EVAL_DATA)", file=sys.stderr)
    return None


def machine() -> dict[str, Any]:
    """What a reader needs to judge a figure."""
    commit = {"commit": _git("rev-parse", "--short", "HEAD")}
    return {**asdict(measured_on()), **commit, "changed": bool(_git("status", "--porcelain", "--untracked-files=no"))}


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, encoding="utf-8", check=False
    )
    return done.stdout.strip()
