"""A slow bank made faster, as its owner would: alert, advice, the setting changed, before against after.

`python -m tests.monitoring.story [DIRECTORY]` tells it; the test beside it holds each step. Everything is real: a bank,
the command line, and an embedding server on loopback that takes its time.
"""

import asyncio
import http.server
import json
import random
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.cli import cli
from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.records import MemoryItem, NewTrace, Query
from reasoning_bank.settings import load_settings

QUESTIONS = 24
SEARCHES = 280
CALLERS = 8
DELAY_S = 0.11
"""What each request for embeddings takes: more than the target of a whole search, whatever the machine."""

_CONFIG = """
[embeddings]
backend = "openai"
base_url = "{url}"
model = "slow-embedder"

[cache.retrieval]
size = {retrieval}

[cache.queries]
size = {queries}

[monitoring]
alerts = "{alerts}"
"""
# As in the package, but raised at once, and after fewer look-ups than a working day has.
_ALERTS = """
[[alert]]
name = "slow-retrieval"
metric = "retrieve_memory:p95_ms"
target = 100.0
critical = 200.0
for_s = 0.0
about = "searches are slow for one caller in twenty"

[[alert]]
name = "cache-hit-rate"
metric = "cache.retrieval:hit_rate"
worse = "below"
target = 0.7
critical = 0.5
least = 50
for_s = 0.0
about = "few searches are answered from what was answered before"
"""


@dataclass
class Server:
    """An embedding server in OpenAI's format, and how often it was asked."""

    url: str = ""
    asked: int = 0


@dataclass
class Story:
    """What happened.

    Attributes:
        alerts: raised while the bank was slow.
        doctor: what doctor said of it.
        advice: name -> recommendation.
        sizes: of the cache of answers, before and after.
        asked: requests to the embedding server for the same questions, before and after.
        changes: before and after, by metric.
        text: the report on both.
    """

    alerts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    doctor: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    advice: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    sizes: list[int] = field(default_factory=list[int])
    asked: list[int] = field(default_factory=list[int])
    changes: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    text: str = ""


@contextmanager
def slow_embedder(delay_s: float = DELAY_S) -> Generator[Server]:
    """A server that takes `delay_s` for each request."""
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
            state.asked += 1
            time.sleep(delay_s)
            rows = HashingEmbedder(32).encode(texts, "document")
            data = [{"index": index, "embedding": row.tolist()} for index, row in enumerate(rows)]
            content = json.dumps({"object": "list", "data": data, "model": "slow-embedder"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """`Server.asked` counts."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tell(directory: Path) -> Story:
    """Make a bank slow, find out why by its own words, change what it says, and compare."""
    story, before = Story(), directory / "before.json"
    sizes = {"retrieval": 5, "queries": 5}
    with slow_embedder() as server:
        _configure(directory, server, sizes)
        asyncio.run(_fill(directory))
        story.alerts = _asked(story, directory, server, sizes)
        story.doctor = _json(directory, "doctor", failing=True)
        advice = _json(directory, "advise")["prioritized_recommendations"]
        story.advice = {each["name"]: each for each in advice}
        _run(directory, "report", "--output", str(before))
        # The owner puts the lines that were advised into the file of settings, and begins the figures anew.
        for each in story.advice.values():
            for name, lines in tomllib.loads(each["example"]).get("cache", {}).items():
                sizes[name] = lines["size"]
        _configure(directory, server, sizes)
        _run(directory, "report", "reset", "--yes")
        _asked(story, directory, server, sizes)
        compared = _json(directory, "report", "--compare", str(before), "today")
        story.changes = {change["metric"]: change for change in compared["changes"]}
        story.text = _run(directory, "report", "--compare", str(before), "today")
    return story


def _asked(story: Story, directory: Path, server: Server, sizes: dict[str, int]) -> list[dict[str, Any]]:
    before = server.asked
    raised = asyncio.run(_ask(directory))
    story.sizes.append(sizes["retrieval"])
    story.asked.append(server.asked - before)
    return raised


def _configure(directory: Path, server: Server, sizes: dict[str, int]) -> None:
    alerts = directory / "alerts.toml"
    alerts.write_text(_ALERTS, encoding="utf-8")
    text = _CONFIG.format(url=server.url, alerts=alerts.as_posix(), **sizes)
    (directory / "config.toml").write_text(text, encoding="utf-8")


def _bank(directory: Path) -> ReasoningBank:
    return ReasoningBank(load_settings(directory / "config.toml", data_dir=directory / "bank"))


async def _fill(directory: Path) -> None:
    bank = await asyncio.to_thread(_bank, directory)
    async with bank:
        for number in range(QUESTIONS):
            lesson = MemoryItem(text="", title=_topic(number), content=f"Rule {number}: check {_topic(number)} first.")
            await bank.store_trace("w", NewTrace(f"Repair {_topic(number)}", outcome="success"), memories=[lesson])
        await bank.wait_until_searchable(timeout_s=60)


async def _ask(directory: Path) -> list[dict[str, Any]]:
    """Several callers ask what some ask often and some seldom (Zipf); what the bank raised at the end."""
    bank = await asyncio.to_thread(_bank, directory)
    weights = [1 / (rank + 1) ** 0.8 for rank in range(QUESTIONS)]
    wanted = iter(random.Random(1).choices(range(QUESTIONS), weights, k=SEARCHES))
    async with bank:
        assert await bank.rooms.model.wait_ready(60)

        async def call() -> None:
            for number in wanted:
                await bank.retrieve("w", Query(f"How to repair {_topic(number)}?"))

        await asyncio.gather(*(call() for _ in range(CALLERS)))
        await bank.figures.look()
        return [alert.plain() for alert in bank.figures.alerts()]


def _topic(number: int) -> str:
    return f"the {('pump', 'valve', 'gate', 'motor')[number % 4]} of line {number}"


def _run(directory: Path, *arguments: str, failing: bool = False) -> str:
    place = ["--config", str(directory / "config.toml"), "--data-dir", str(directory / "bank")]
    done = CliRunner().invoke(cli, [*arguments, *place])
    if done.exit_code and not failing:
        raise AssertionError(done.output) from done.exception
    return done.stdout


def _json(directory: Path, *arguments: str, failing: bool = False) -> Any:
    return json.loads(_run(directory, *arguments, "--json", failing=failing))


def main() -> None:
    """Tell the story in a directory, a temporary one where none is named."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        story = tell(directory)
        for alert in story.alerts:
            print(f"alert     {alert['level']}: {alert['metric']} = {alert['value']:.4g} (target {alert['target']:g})")
        for name, each in story.advice.items():
            print(f"advice    {name}: {' '.join(each['example'].split())}  ({each['description']})")
        for size, asked in zip(story.sizes, story.asked, strict=True):
            print(f"size {size:4} {asked} requests to the embedder for {SEARCHES} searches")
        for metric in ("cache.retrieval:hit_rate", "retrieve_memory:mean_ms", "retrieve_memory:p95_ms"):
            found = story.changes[metric]
            before, after = (f"{found[when]['value']:.4g}" for when in ("before", "after"))
            print(f"report    {metric}: {before} -> {after}, {found['verdict']}")


if __name__ == "__main__":
    main()
