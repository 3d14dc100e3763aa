"""`demo`: a real MCP client talks to a real server over stdio, in a directory that is gone afterwards."""

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

import click

from reasoning_bank.cli.options import LoadSettings, settings_options

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult

    from reasoning_bank.settings import Settings

MODEL_WAIT_S = 60.0
"""Longest wait for the five memories to be embedded; then the demo shows search by keyword."""


@click.command("demo")
@settings_options
def demo_command(*, load: LoadSettings) -> None:
    """See it work: a real MCP client stores, asks and compresses.

    Starts a server over stdio in a temporary directory, stores five traces, asks three questions (to one of them the
    bank has no answer), compresses a prompt and reads the statistics. Your own bank is not touched.

    \b
    Example:
      reasoning-bank demo
    """
    from reasoning_bank.cli.loops import run

    settings = load()
    # On Windows a file that a server still closes cannot be deleted; the directory is temporary in any case.
    with tempfile.TemporaryDirectory(prefix="reasoning-bank-demo-", ignore_cleanup_errors=True) as directory:
        run(_demonstrate, settings, directory)


async def _demonstrate(settings: "Settings", directory: str) -> None:
    from mcp import Client, StdioServerParameters

    data = json.loads(resources.files("reasoning_bank.cli").joinpath("data/demo.json").read_text(encoding="utf-8"))
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "reasoning_bank", "serve", "--data-dir", directory, "--workspace", "demo"],
        env={
            "REASONING_BANK_ASSETS_DIR": str(settings.assets_dir),
            "REASONING_BANK_ASSETS__ALLOW_DOWNLOAD": str(settings.assets.allow_download).lower(),
            "REASONING_BANK_ASSETS__HUB_URL": settings.assets.hub_url,
            "REASONING_BANK_LOG_LEVEL": "ERROR",
        },
    )
    started = time.perf_counter()
    async with Client(server, read_timeout_seconds=120) as client:
        tools = await client.list_tools()
        names = ", ".join(tool.name for tool in tools.tools)
        _title(f"Connected over stdio in {_ms(started)}: {names}")
        await _store(client, data["traces"])
        await _wait_for_model(client)
        await _ask(client, data["questions"])
        await _compress(client, data)
        await _show_stats(client)


async def _store(client: "Client", traces: list[dict[str, Any]]) -> None:
    _title("Five traces are stored")
    for trace in traces:
        started = time.perf_counter()
        stored = _structured(await client.call_tool("store_trace", trace))
        took = _ms(started)
        click.echo(f"  {trace['outcome']:8} {trace['task'][:90]}  ({took}, durable)")
        for memory in stored["memories"]:
            click.echo(f"           + {memory['title']}  [{stored['distillation']}]")


async def _wait_for_model(client: "Client") -> None:
    import anyio

    started = time.perf_counter()
    while time.perf_counter() - started < MODEL_WAIT_S:
        stats = await _stats(client)
        if stats["model"]["status"] == "unavailable":
            break
        if stats["model"]["status"] == "ready" and stats["embedded"] == stats["memories"]:
            click.secho(f"  (all of them can be found by meaning after {_ms(started)})", dim=True)
            return
        await anyio.sleep(0.1)
    click.secho("  (no embedding model here: search works by keyword; see reasoning-bank doctor)", fg="yellow")


async def _ask(client: "Client", questions: list[str]) -> None:
    from reasoning_bank.cli.output import paragraph

    for question in questions:
        _title(f"Question: {question}")
        started = time.perf_counter()
        found = _structured(await client.call_tool("retrieve_memory", {"task": question, "detail": "full"}))
        took = _ms(started)
        for memory in found["memories"]:
            click.echo(f"  {memory['score']:.2f}  {memory['title']}")
            if memory["warning"]:
                click.secho(paragraph(memory["warning"], indent=6, lines=3), fg="yellow")
            click.echo(paragraph(memory["content"], indent=6, lines=6))
        if not found["memories"]:
            click.echo(f"  Nothing relevant, and the bank says so ({found['below_floor']} were below its floor).")
        click.secho(f"  ({took})", dim=True)


async def _compress(client: "Client", data: Mapping[str, Any]) -> None:
    prompt = "\n\n".join(
        f"## {trace['task']}\n{json.dumps(trace['trajectory'], indent=1, ensure_ascii=False)}"
        for trace in data["traces"]
    )
    _title("A prompt is compressed: all five trajectories at once")
    started = time.perf_counter()
    answer = _structured(await client.call_tool("compress_prompt", {"prompt": prompt, **data["compress"]}))
    counted = f"{answer['tokenizer']}, exact" if answer["exact"] else "estimated"
    click.echo(f"  {answer['tokens_before']} tokens -> {answer['tokens_after']} ({counted}) in {_ms(started)}")
    for line in answer["text"].strip().splitlines()[:6]:
        click.echo(f"  | {line[:110]}")
    click.echo("  | …")


async def _show_stats(client: "Client") -> None:
    from reasoning_bank.cli.figures import print_stats

    _title("bank://stats says")
    print_stats(await _stats(client))


async def _stats(client: "Client") -> dict[str, Any]:
    contents = (await client.read_resource("bank://stats")).contents[0]
    return json.loads(cast("Any", contents).text)


def _structured(result: "CallToolResult") -> dict[str, Any]:
    if result.is_error:
        raise click.ClickException(f"the server refused: {cast('Any', result.content[0]).text}")
    return cast("dict[str, Any]", result.structured_content)


def _title(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _ms(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.0f} ms"
