"""`make conformance`: the official suite in two legs, the Inspector and two TypeScript clients, against real servers.

Leg A is the real server, leg B the same surface with the suite's fixtures. npm fetches Node 24 and the tools into
tests/conformance/node_modules; nothing else is installed. The result is written to tests/benchmarks/results.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import RESULTS, machine

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
MODULES = HERE / "node_modules"
SETS = ("2025-11-25", "2026-07-28")
ERAS = ("legacy", "modern")
STEP_S = 300


def main() -> None:
    """Runs everything, prints one line per step, and exits with 1 when something is not as expected."""
    _install()
    steps: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory:
        environment = {
            **os.environ,
            "PATH": f"{MODULES / 'node' / 'bin'}{os.pathsep}{MODULES / '.bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "REASONING_BANK_DATA_DIR": str(Path(directory, "bank")),
            "REASONING_BANK_ASSETS__ALLOW_DOWNLOAD": "false",
        }
        with _serving(["-m", "reasoning_bank", "serve", "--transport", "http", "--port"], environment) as url:
            steps += [_suite("real", url, requirements, environment) for requirements in SETS]
            steps += _inspected(url, environment)
            steps += [_smoke(script, url, environment) for script in ("smoke_client.mjs", "smoke_sdk.mjs")]
        with _serving(["-m", "tests.conformance.fixture_server"], environment) as url:
            steps += [_suite("fixtures", url, requirements, environment) for requirements in SETS]
    result = {"what": "MCP conformance, Inspector, TypeScript clients", "machine": machine(), "steps": steps}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "conformance.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.exit(any(not step["as_expected"] for step in steps))


def _install() -> None:
    if not (npm := shutil.which("npm")):
        sys.exit("npm is needed (it fetches Node 24 and the tools): install Node.js, then try again")
    stamp = MODULES / ".package-lock.json"
    if not stamp.exists() or stamp.stat().st_mtime < (HERE / "package.json").stat().st_mtime:
        # The two packages with install scripts are the ones that need theirs: node itself, and the Inspector.
        options = ("--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
        subprocess.run([npm, "install", *options], cwd=HERE, check=True)
        stamp.touch()


@contextlib.contextmanager
def _serving(arguments: Sequence[str], environment: dict[str, str]) -> Generator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *arguments, str(port)],
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_up(port, process)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_up(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
            return
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            sys.exit(f"the server ended with {process.returncode}")
        time.sleep(0.1)
    sys.exit("the server did not start")


def _suite(leg: str, url: str, requirements: str, environment: dict[str, str]) -> dict[str, Any]:
    expected = HERE / f"expected-{leg}-{requirements}.yml"
    command = ["conformance", "server", "--url", url, "--requirements", requirements]
    done = _run([*command, "--expected-failures", str(expected)], environment)
    total = re.search(r"Total: (\d+) passed, (\d+) failed", done.stdout)
    failing = re.findall(r"^✗ ([\w-]+):", done.stdout, re.MULTILINE)
    return _step(
        f"conformance {requirements}, {leg}",
        done,
        checks_passed=int(total[1]) if total else None,
        checks_failed=int(total[2]) if total else None,
        scenarios_passing=len(re.findall(r"^✓ [\w-]+:", done.stdout, re.MULTILINE)),
        scenarios_failing_as_expected=failing,
    )


def _inspected(url: str, environment: dict[str, str]) -> list[dict[str, Any]]:
    """Returns the steps of the Inspector: list, call, read and prompt, on stdio and HTTP, in both eras."""
    targets = {
        "stdio": [sys.executable, "-m", "reasoning_bank", "serve"],
        "http": [url],
    }
    calls = {
        "tools/list --strict": ["--method", "tools/list", "--strict"],
        "tools/call": [
            *("--method", "tools/call", "--tool-name", "retrieve_memory"),
            *("--tool-args-json", '{"task":"a build breaks"}', "-q", "--format", "json"),
        ],
        "resources/read": ["--method", "resources/read", "--uri", "bank://stats"],
        "prompts/get": ["--method", "prompts/get", "--prompt-name", "recall", "--prompt-args", "task=x"],
    }
    return [
        _step(
            f"inspector {name}, {transport}, {era}",
            _run(["mcp-inspector", "--cli", *target, *call, "--protocol-era", era], environment),
        )
        for transport, target in targets.items()
        for era in ERAS
        for name, call in calls.items()
    ]


def _smoke(script: str, url: str, environment: dict[str, str]) -> dict[str, Any]:
    return _step(f"typescript {script}", _run(["node", str(HERE / script), url, sys.executable], environment))


def _run(command: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = shutil.which(command[0], path=environment["PATH"]) or command[0]
    return subprocess.run(
        [program, *command[1:]],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=STEP_S,
        check=False,
    )


def _step(name: str, done: subprocess.CompletedProcess[str], **figures: Any) -> dict[str, Any]:
    ok = done.returncode == 0
    shown = ", ".join(f"{key} {value}" for key, value in figures.items() if isinstance(value, int))
    print(f"{'ok  ' if ok else 'FAIL'} {name}{': ' if shown else ''}{shown}", flush=True)
    if not ok:
        print((done.stdout + done.stderr)[-4_000:], flush=True)
    return {"step": name, "as_expected": ok, "exit_code": done.returncode, **figures}


if __name__ == "__main__":
    main()
