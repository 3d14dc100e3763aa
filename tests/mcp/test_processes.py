"""The real command as a client starts it: real processes, the real bank, both transports."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.mcp.speaking import LESSON, TASK, answer, read, stored

REPOSITORY = Path(__file__).resolve().parents[2]
NOISY = Path(__file__).parent / "noisy_server.py"
SERVE = ["-m", "reasoning_bank", "serve"]
BOUND_S = 30


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a process needs for a small bank: hashing instead of a model, no Chroma, nothing downloaded."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {
        **kept,
        "PYTHONPATH": str(REPOSITORY),
        "REASONING_BANK_DATA_DIR": str(tmp_path / "bank"),
        "REASONING_BANK_EMBEDDINGS__BACKEND": "hashing",
        "REASONING_BANK_VECTORS__CHROMA_MODE": "off",
        "REASONING_BANK_COMPRESSION__TOKENIZER": "estimated",
        "REASONING_BANK_ASSETS__ALLOW_DOWNLOAD": "false",
    }


def client_of(environment: dict[str, str], *arguments: str, mode: str = "auto", cwd: Path = REPOSITORY) -> Client:
    parameters = StdioServerParameters(command=sys.executable, args=list(arguments or SERVE), env=environment, cwd=cwd)
    return Client(stdio_client(parameters), mode=mode)


async def test_a_client_stores_and_another_process_of_the_other_era_finds_it_on_its_next_call(
    environment: dict[str, str],
) -> None:
    async with client_of(environment, mode="auto") as first, client_of(environment, mode="legacy") as second:
        assert (await answer(second, "retrieve_memory", task=TASK))["memories"] == []
        memory_id = await stored(first)
        found = await answer(second, "retrieve_memory", task=TASK)
        assert [memory["id"] for memory in found["memories"]] == [memory_id]


async def test_the_project_of_the_host_is_the_workspace(environment: dict[str, str], tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    remote = '[remote "origin"]\n\turl = git@github.com:acme/app.git\n'
    (project / ".git" / "config").write_text(remote, encoding="utf-8")
    async with client_of({**environment, "CLAUDE_PROJECT_DIR": str(project)}) as client:
        assert (await read(client, "bank://workspaces"))["own"] == "acme/app"


START: dict[str, list[str]] = {
    "module": ["-m", "reasoning_bank"],
    "server.py": ["server.py"],
    "mcp run": ["-c", "from mcp.cli import app; app()", "run", "server.py"],
}


@pytest.mark.parametrize("way", list(START))
async def test_every_way_to_start_it_serves(environment: dict[str, str], way: str) -> None:
    if way == "mcp run":
        pytest.importorskip("typer", reason="`mcp run` needs the extra mcp[cli]")
    async with client_of(environment, *START[way]) as client:
        assert (await client.list_tools()).tools


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into the process through /proc")
def test_the_handshake_loads_nothing_heavy(environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, *SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        meta: dict[str, object] = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        for number, method in enumerate(("server/discover", "tools/list")):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": {"_meta": meta}}
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            assert "result" in json.loads(process.stdout.readline())
            if method == "server/discover":  # after tools/list the bank may open at any moment
                loaded = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
                assert not re.findall(r"numpy|sqlalchemy|chromadb|onnxruntime|torch", loaded)
        process.stdin.close()
        assert process.wait(BOUND_S) == 0


@contextlib.contextmanager
def serving(
    environment: dict[str, str], *, command: list[str] | None = None
) -> Generator[tuple[subprocess.Popen[bytes], str]]:
    process = subprocess.Popen(
        [sys.executable, *(command or [*SERVE, "--transport", "http", "--port", "0"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline().decode()
        found = re.search(r"http://\S+", first)
        assert found, first + (process.stderr.read().decode() if process.stderr else "")
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


async def test_http_serves_both_eras_and_ends_cleanly(environment: dict[str, str]) -> None:
    with serving(environment) as (process, url):
        async with Client(url, mode="auto") as client, Client(url, mode="legacy") as legacy:
            await stored(client)
            assert len((await answer(legacy, "retrieve_memory", task=TASK))["memories"]) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(BOUND_S) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(("task", "answered"), [("slow", True), ("forever", False)])
async def test_a_call_in_flight_over_http_is_waited_for_but_not_forever(
    environment: dict[str, str], task: str, answered: bool
) -> None:
    call = {"name": "retrieve_memory", "arguments": {"task": task}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    headers = {"accept": "application/json, text/event-stream"}
    with serving(environment, command=[str(NOISY), "http"]) as (process, url):
        assert process.stderr is not None
        async with httpx2.AsyncClient(timeout=BOUND_S) as client:
            request = asyncio.create_task(client.post(url, headers=headers, json=body))
            begun = f"{task} begins".encode()
            while begun not in await asyncio.to_thread(process.stderr.readline):
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            done = await asyncio.gather(request, return_exceptions=True)
        assert await asyncio.to_thread(process.wait, BOUND_S) == 0
    assert (isinstance(done[0], httpx2.Response) and '"isError":false' in done[0].text) is answered


async def test_an_open_stream_does_not_keep_the_server(environment: dict[str, str]) -> None:
    headers = {"accept": "text/event-stream"}
    with serving(environment) as (process, url):
        async with httpx2.AsyncClient(timeout=BOUND_S) as client, client.stream("GET", url, headers=headers) as stream:
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(httpx2.HTTPError):
                async for _ in stream.aiter_bytes():
                    pass
        assert process.wait(BOUND_S) == 0
        assert time.monotonic() - started < 10


async def test_a_real_token_opens_its_workspace_only(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "reasoning_bank", "token", "create", "mine", "--workspace", "mine", "--json"]
    made = await asyncio.to_thread(
        subprocess.run,
        command,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=BOUND_S,
    )
    secret = json.loads(made.stdout)["token"]
    guarded = {**environment, "REASONING_BANK_HTTP__AUTH": "required"}

    async def call(url: str, headers: dict[str, str], **arguments: Any) -> httpx2.Response:
        params = {"name": "store_trace", "arguments": {"task": TASK, "memories": [LESSON], **arguments}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        accept = {"accept": "application/json, text/event-stream"}
        async with httpx2.AsyncClient(timeout=BOUND_S) as client:
            return await client.post(url, headers=accept | headers, json=body)

    with serving(guarded) as (_, url):
        assert (await call(url, {})).status_code == 401
        assert (await call(url, {"authorization": f"Bearer {secret}x"})).status_code == 401
        good = await call(url, {"authorization": f"Bearer {secret}"})
        assert good.status_code == 200
        assert '"isError":false' in good.text.replace(" ", "")
        foreign = await call(url, {"authorization": f"Bearer {secret}"}, workspace="other")
        assert "bound to another workspace" in foreign.text


@pytest.mark.parametrize(
    ("arguments", "setting", "told"),
    [
        (["--host", "0.0.0.0"], {}, "token create"),
        ([], {"REASONING_BANK_HTTP__AUTH": "required"}, "token create"),
        (["--host", "203.0.113.1"], {}, "or choose another port (--port, `http.port`;"),
    ],
)
def test_a_server_that_could_not_be_used_safely_does_not_start(
    environment: dict[str, str], arguments: list[str], setting: dict[str, str], told: str
) -> None:
    command = [sys.executable, *SERVE, "--transport", "http", "--port", "0", *arguments]
    done = subprocess.run(
        command,
        env=environment | setting,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
