"""Cold start over stdio: spawn to `tools/list`, paired with a bare MCPServer that has one tool.

Each pair starts both servers one after the other, in changing order, so that load hits both alike; the ratio of a pair
is what counts. Then, once per run: time to the first keyword answer and to the first semantic one, and memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from tests.benchmarks.machine import REPOSITORY, RESULTS, machine

BARE = """
from mcp.server import MCPServer

server = MCPServer("bare")


@server.tool()
def echo(text: str) -> str:
    "Says the same."
    return text


server.run()
"""
ERAS = ("legacy", "modern")
MODERN: dict[str, object] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
LESSON = {
    "task": "The nightly import of a csv file with dates in several formats fails",
    "outcome": "success",
    "memories": [
        {
            "title": "Parse dates strictly",
            "description": "When a csv import holds dates in several formats",
            "content": "Try datetime.fromisoformat first, then an explicit list of formats; never guess the order.",
        }
    ],
}
QUERY = {"task": "importing csv dates in several formats", "min_score": 0}


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from spawn, CPU seconds of the process by then, and its memory in MB."""

    handshake_s: float
    listed_s: float
    cpu_s: float
    rss_mb: float


class Server:
    """A server process on pipes, spoken to in raw lines: a client library would add its own start-up."""

    def __init__(self, command: list[str], directory: Path) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "REASONING_BANK_DATA_DIR": str(directory),
            "REASONING_BANK_ASSETS__ALLOW_DOWNLOAD": "false",
        }
        self.spawned = time.perf_counter()
        self.popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=directory,
        )
        self.process = psutil.Process(self.popen.pid)
        self._last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.close()
        self.popen.stdout.close()
        self.popen.wait(20)

    def send(self, message: dict[str, Any]) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.popen.stdin.flush()

    def request(self, method: str, **parameters: Any) -> dict[str, Any]:
        assert self.popen.stdout is not None
        self._last_id += 1
        self.send({"id": self._last_id, "method": method, "params": parameters})
        line = self.popen.stdout.readline()
        if not line:
            sys.exit(f"the server ended with {self.popen.wait()}")
        return json.loads(line)["result"]

    def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return self.request("tools/call", name=name, arguments=arguments)["structuredContent"]

    def start(self, era: str) -> Start:
        if era == "legacy":
            client = {"name": "bench", "version": "1"}
            self.request("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=client)
            handshake = time.perf_counter() - self.spawned
            self.send({"method": "notifications/initialized"})
            self.request("tools/list")
        else:
            self.request("server/discover", _meta=MODERN)
            handshake = time.perf_counter() - self.spawned
            self.request("tools/list", _meta=MODERN)
        listed = time.perf_counter() - self.spawned
        used = self.process.cpu_times()
        return Start(handshake, listed, used.user + used.system, self.process.memory_info().rss / 2**20)


def main(arguments: list[str]) -> None:
    """Measures, prints and writes tests/benchmarks/results/cold_start.json."""
    parser = argparse.ArgumentParser(prog="cold_start", description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="pairs per protocol era")
    parser.add_argument("--answers", type=int, default=3, help="runs until the first answers")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        bare = Path(directory, "bare.py")
        bare.write_text(BARE, encoding="utf-8")
        commands = {"bare": [sys.executable, str(bare)], "ours": [sys.executable, "-m", "reasoning_bank", "serve"]}
        for command in commands.values():  # compiles what is not compiled yet
            with Server(command, Path(directory)) as server:
                server.start("legacy")
        result = {
            "what": "stdio cold start: spawn to tools/list, paired with a bare MCPServer with one tool",
            "machine": machine(),
            "eras": {era: _pairs(commands, Path(directory), era, options.pairs) for era in ERAS},
            "first_answers": [_first_answers(commands["ours"]) for _ in range(options.answers)],
        }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cold_start.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _pairs(commands: dict[str, list[str]], directory: Path, era: str, pairs: int) -> dict[str, Any]:
    starts: dict[str, list[Start]] = {name: [] for name in commands}
    for number in range(pairs):
        for name in sorted(commands, reverse=bool(number % 2)):
            with Server(commands[name], directory) as server:
                starts[name].append(server.start(era))
    ratios = sorted(ours.listed_s / bare.listed_s for ours, bare in zip(starts["ours"], starts["bare"], strict=True))
    cpu = [ours.cpu_s / bare.cpu_s for ours, bare in zip(starts["ours"], starts["bare"], strict=True)]
    return {
        "pairs": pairs,
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_quartiles": [round(ratios[len(ratios) // 4], 3), round(ratios[3 * len(ratios) // 4], 3)],
        "cpu_ratio_median": round(statistics.median(cpu), 3),
        **{name: _summary(measured) for name, measured in starts.items()},
    }


def _summary(starts: list[Start]) -> dict[str, float]:
    return {
        "handshake_s_median": round(statistics.median(start.handshake_s for start in starts), 3),
        "tools_list_s_median": round(statistics.median(start.listed_s for start in starts), 3),
        "tools_list_s_min": round(min(start.listed_s for start in starts), 3),
        "cpu_s_median": round(statistics.median(start.cpu_s for start in starts), 3),
        "rss_mb_median": round(statistics.median(start.rss_mb for start in starts), 1),
    }


def _first_answers(command: list[str]) -> dict[str, Any]:
    """Seconds from spawn to the first answers of a bank with one memory, and memory before and after."""
    with tempfile.TemporaryDirectory() as directory:
        with Server(command, Path(directory)) as server:
            server.start("legacy")
            server.call("store_trace", LESSON)
            server.call("retrieve_memory", QUERY)
        with Server(command, Path(directory)) as server:
            listed = server.start("legacy")
            first = server.call("retrieve_memory", QUERY)
            first_s = time.perf_counter() - server.spawned
            answer = first
            while "semantic" in answer["degraded"] and time.perf_counter() - server.spawned < 60:
                time.sleep(0.02)
                answer = server.call("retrieve_memory", QUERY)
            semantic_s = time.perf_counter() - server.spawned
            return {
                "tools_list_s": round(listed.listed_s, 3),
                "first_answer_s": round(first_s, 3),
                "first_answer_degraded": first["degraded"],
                "first_answer_memories": len(first["memories"]),
                "first_semantic_s": None if "semantic" in answer["degraded"] else round(semantic_s, 3),
                "rss_mb_after_listing": round(listed.rss_mb, 1),
                "rss_mb_after_answers": round(server.process.memory_info().rss / 2**20, 1),
            }


if __name__ == "__main__":
    main(sys.argv[1:])
