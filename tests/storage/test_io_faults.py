"""Each I/O call of a bank fails once, and from then on: every error is typed, nothing acknowledged is lost."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .test_faults import whole_stores

HERE = Path(__file__).parent


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    compiler = shutil.which("cc")
    if not compiler or sys.platform != "linux":
        pytest.skip("needs a C compiler and preloading")
    library = tmp_path / "io_faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, HERE / "io_faults.c", "-ldl"], check=True)
    return library


@pytest.mark.faults
def test_any_failing_io_call_is_a_typed_error_and_loses_nothing(path: Path, shim: Path) -> None:
    environment = os.environ | {"LD_PRELOAD": str(shim), "PYTHONPATH": str(HERE)}
    command = [sys.executable, str(HERE / "io_faults_process.py"), str(shim), str(path), "7"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    kept = whole_stores(path)
    assert report["fired"] >= 5, "the faults must have happened"
    assert set(report["ok"]) <= kept
    assert {name for name in report["refused"] if name.endswith("-healed")} == set()
    assert set(report["codes"]) <= {"io", "full"}, "a failing disk is neither a damaged file nor a lock"
