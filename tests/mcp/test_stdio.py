"""The real process on real pipes: what it says, what it never says, and how it ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

REPOSITORY = Path(__file__).resolve().parents[2]
NOISY = Path(__file__).parent / "noisy_server.py"
BOUND_S = 30


class Process:
    """A server on pipes, spoken to in raw lines."""

    def __init__(self, *, drain_s: float = 5.0, stdin: int = subprocess.PIPE) -> None:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        environment.pop("PYTHONUNBUFFERED", None)  # it hides what leaks from a buffer at exit
        self.popen = subprocess.Popen(
            [sys.executable, str(NOISY), str(drain_s)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=REPOSITORY,
        )
        assert self.popen.stdout is not None
        assert self.popen.stderr is not None
        self.stdout = self.popen.stdout
        self.stderr = self.popen.stderr

    def send(self, *lines: bytes | dict[str, Any]) -> None:
        assert self.popen.stdin is not None
        for line in lines:
            self.popen.stdin.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
        self.popen.stdin.flush()

    def receive(self) -> dict[str, Any]:
        line = self.stdout.readline()
        assert line, self.stderr.read().decode()
        return json.loads(line)

    def initialize(self) -> None:
        parameters = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        self.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": parameters})
        assert self.receive()["result"]["serverInfo"]["name"] == "reasoning-bank"
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def search(self, request_id: int, task: str) -> None:
        call = {"name": "retrieve_memory", "arguments": {"task": task}}
        self.send({"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": call})

    def wait_for(self, words: bytes) -> None:
        while words not in (line := self.stderr.readline()):
            assert line, "the server ended"

    def close_input(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.close()

    def ended(self) -> tuple[int, list[dict[str, Any]], str]:
        """Returns the exit code, the rest of stdout as messages (anything else fails), and stderr."""
        self.popen.wait(BOUND_S)
        rest = self.stdout.read()
        return self.popen.returncode, [json.loads(line) for line in rest.splitlines()], self.stderr.read().decode()


@contextlib.contextmanager
def running() -> Generator[Process]:
    started = Process()
    yield started
    started.popen.kill()
    started.popen.wait()
    for pipe in (started.popen.stdin, started.stdout, started.stderr):
        if pipe is not None:
            pipe.close()


@pytest.fixture
def process() -> Generator[Process]:
    """A process of this test's own, which it may end."""
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def talking() -> Generator[Process]:
    """A process that has shaken hands and outlives what several tests say to it."""
    with running() as started:
        started.initialize()
        yield started


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_works_in_both_eras(mode: str) -> None:
    parameters = StdioServerParameters(
        command=sys.executable, args=[str(NOISY), "5"], env={"PYTHONPATH": str(REPOSITORY)}, cwd=REPOSITORY
    )
    async with Client(stdio_client(parameters), mode=mode) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("retrieve_memory", {"task": "noise"})
    assert tools == ["retrieve_memory", "store_trace", "rate_memory", "get_memory", "compress_prompt"]
    assert not result.is_error


def test_stdout_carries_the_protocol_only_whatever_prints(process: Process) -> None:
    process.initialize()
    process.search(1, "noise")
    assert process.receive()["id"] == 1
    process.close_input()
    code, rest, stderr = process.ended()
    assert (code, rest) == (0, [])
    for origin in ("print", "the original stdout", "descriptor 1", "a child"):
        assert f"noise from {origin}" in stderr


def test_a_child_process_cannot_eat_the_protocols_input(talking: Process) -> None:
    talking.search(1, "stdin")
    talking.search(2, "x")
    assert {talking.receive()["id"], talking.receive()["id"]} == {1, 2}


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, None], ids=["SIGTERM", "SIGINT", "end of input"])
def test_a_call_in_flight_is_answered_before_the_process_ends(process: Process, stop: signal.Signals | None) -> None:
    process.initialize()
    process.search(1, "slow")
    process.wait_for(b"slow begins")
    if stop is None:
        process.close_input()
    else:
        process.popen.send_signal(stop)
    code, rest, stderr = process.ended()
    assert code == 0
    assert [message["id"] for message in rest] == [1]
    assert "bank closed" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, None], ids=["SIGTERM", "SIGINT", "end of input"])
def test_an_idle_process_ends_at_once_and_quietly(process: Process, stop: signal.Signals | None) -> None:
    process.initialize()
    if stop is None:
        process.close_input()
    else:
        process.popen.send_signal(stop)
    code, rest, stderr = process.ended()
    assert (code, rest) == (0, [])
    assert "Traceback" not in stderr


@pytest.mark.parametrize("task", ["forever", "stuck"])
def test_a_call_that_never_ends_cannot_keep_the_process(task: str) -> None:
    process = Process(drain_s=1.0)
    with process.popen:
        process.initialize()
        process.search(1, task)
        process.wait_for(f"{task} begins".encode())
        process.popen.send_signal(signal.SIGTERM)
        assert process.ended()[0] == 0


def test_a_client_that_is_gone_ends_the_process_without_a_traceback(process: Process) -> None:
    process.initialize()
    process.stdout.close()
    process.search(1, "x")
    process.popen.wait(BOUND_S)
    assert process.popen.returncode == 0
    assert b"Traceback" not in process.stderr.read()


def test_every_line_that_may_be_a_request_is_answered(talking: Process) -> None:
    talking.send(b"garbage")
    assert talking.receive()["error"]["code"] == -32700
    talking.send(b"[]")
    assert talking.receive()["error"]["code"] == -32700
    talking.send(b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"retrieve_memory",'
                 b'"arguments":{"task":"\\ud800"}}}')  # fmt: skip
    assert talking.receive() == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {
            "code": -32700,
            "message": "The message holds half of a UTF-16 pair (such as \\ud800), or is nested too deep",
        },
    }
    talking.send(b'{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"x":"' + b"y" * 70_000 + b'"}}')
    answer = talking.receive()
    assert (answer["id"], answer["error"]["code"]) == (8, -32600)
    assert "65,536" in answer["error"]["message"]
    talking.search(9, "x")
    assert talking.receive()["id"] == 9


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("tools/call", {"name": "retrieve_memory", "arguments": [1]}, -32602),
        ("tools/call", {"arguments": {}}, -32602),
        ("tools/call", {"name": "none", "arguments": {}}, -32602),
        ("resources/subscribe", {"uri": "bank://stats"}, -32601),
        ("logging/setLevel", {"level": "info"}, -32601),
        ("no/such/method", {}, -32601),
        ("tools/list", {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}, -32600),
    ],
)
def test_a_request_that_cannot_be_served_has_its_code(
    talking: Process, method: str, params: dict[str, Any], code: int
) -> None:
    talking.send({"jsonrpc": "2.0", "id": "code", "method": method, "params": params})
    answer = talking.receive()
    assert (answer["id"], answer["error"]["code"]) == ("code", code)


def test_calls_of_one_connection_run_side_by_side(talking: Process) -> None:
    talking.search(21, "slow")
    talking.search(22, "x")
    assert [talking.receive()["id"], talking.receive()["id"]] == [22, 21]


def test_fifty_megabytes_on_one_line_are_refused_and_not_held(talking: Process) -> None:
    talking.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"x":"' + b"y" * 50_000_000 + b'"}}')
    assert talking.receive()["error"]["code"] == -32600
    status = Path(f"/proc/{talking.popen.pid}/status")
    if status.exists():
        peak_kb = int(
            next(line for line in status.read_text(encoding="utf-8").splitlines() if "VmHWM" in line).split()[1]
        )
        assert peak_kb < 150_000


def test_a_cancelled_call_is_not_waited_for_at_the_end(process: Process) -> None:
    process.initialize()
    process.search(1, "forever")
    process.wait_for(b"forever begins")
    process.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
    process.search(2, "x")
    assert process.receive()["id"] == 2
    process.close_input()
    assert process.ended()[:2] == (0, [])


def test_a_modern_request_needs_no_handshake(process: Process) -> None:
    meta: dict[str, object] = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    process.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}})
    result = process.receive()["result"]
    assert result["ttlMs"] == 60_000
    assert result["cacheScope"] == "public"


def test_a_bug_is_logged_and_hidden_and_the_server_lives(process: Process) -> None:
    process.initialize()
    call = {"name": "store_trace", "arguments": {"task": "crash"}}
    process.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    result = process.receive()["result"]
    assert result["isError"] is True
    assert result["content"][0]["text"] == "store_trace failed; the server's log says why"
    process.search(2, "x")
    assert process.receive()["id"] == 2
    process.close_input()
    assert "RuntimeError: a bug" in process.ended()[2]


def test_input_from_a_file_is_served_to_its_end(tmp_path: Path) -> None:
    requests = tmp_path / "requests.jsonl"
    parameters = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    call = {"name": "retrieve_memory", "arguments": {"task": "slow"}}
    lines = [
        {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": parameters},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call},
    ]
    requests.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with requests.open("rb") as source:
        process = Process(stdin=source.fileno())
    with process.popen:
        code, messages, _ = process.ended()
    assert (code, [message["id"] for message in messages]) == (0, [0, 1])
