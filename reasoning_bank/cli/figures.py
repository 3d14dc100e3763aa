"""`stats`: what the bank holds and how it performs."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options, workspace_of, workspace_option


@click.command("stats")
@workspace_option
@json_option
@settings_options
def stats_command(*, workspace: str | None, as_json: bool, load: LoadSettings) -> None:
    """Show what the bank holds and how it performs.

    Counts are of the bank, whoever wrote it; latencies and caches are of this process, so a running server's own are
    read over MCP (bank://stats).

    \b
    Example:
      reasoning-bank stats --json
    """
    from reasoning_bank.cli.opened import open_bank, warn_of_missing
    from reasoning_bank.cli.output import print_json

    settings = load()
    with open_bank(settings) as bank:
        name = workspace_of(settings, workspace)
        warn_of_missing(bank, name)
        stats = bank.call(bank.bank.stats, name)
    if as_json:
        print_json(stats)
    else:
        print_stats(stats)


def print_stats(stats: Mapping[str, Any]) -> None:
    """Print the statistics of a bank, as `bank://stats` has them, for people."""
    from reasoning_bank.cli.output import print_table

    model, queue, index = stats["model"], stats["background"], stats["index"]
    lines = {
        f"workspace {stats['workspace']}": f"{stats['memories']} memories of {stats['traces']} traces, "
        f"{stats['embedded']} embedded, {stats['superseded']} superseded, {stats['deleted']} forgotten",
        "model": f"{model['serving'] or 'none'}, {_model_state(model)}",
        "background": f"{queue['pending']} waiting, {queue['leased']} under way, {queue['dead']} given up",
        "vector index": f"Chroma {index['mode']}, {index['problem'] or index['status']}",
    }
    # What this process has not used says nothing: the figures of a server are the server's.
    for name, cache in stats["caches"].items():
        if not cache["total_requests"]:
            continue
        used = f"{cache['cache_size']} of {cache['max_size']}"
        lines[f"cache of {name}"] = f"{used}, {cache['hits']} hits of {cache['total_requests']}"
    lines |= _of_learning(stats)
    if counters := stats["counters"]:
        lines["counters"] = ", ".join(f"{name} {count}" for name, count in counters.items())
    if any(figures["returned"] for figures in stats["strategies"].values()):
        lines["found by"] = ", ".join(
            f"{name} {figures['returned']} ({figures['helped']} helped)"
            for name, figures in stats["strategies"].items()
        )
    width = max(map(len, lines))
    for name, line in lines.items():
        click.echo(f"{name.ljust(width)}  {line}")
    if operations := stats["operations"]:
        click.echo()
        columns = ("count", "errors", "p50_ms", "p95_ms", "max_ms")
        rows = [[name, *(f"{figures[column]:g}" for column in columns)] for name, figures in operations.items()]
        print_table(rows, headers=("operation", *columns))


def _of_learning(stats: Mapping[str, Any]) -> dict[str, str]:
    lines: dict[str, str] = {}
    if refused := stats.get("refused"):
        lines["refused"] = ", ".join(f"{reason} {count}" for reason, count in refused.items())
    if language := stats.get("language_models"):
        lines["language models"] = _spent(language["today"]["limits"])
    return lines


def _model_state(model: Mapping[str, Any]) -> str:
    # A command that does not search never waits for it: that says nothing about the searches of others.
    return "not loaded by this command" if model["status"] == "loading" else model["reason"] or model["status"]


def _spent(limits: Sequence[Mapping[str, Any]]) -> str:
    spent = ", ".join(f"{each['spent']:,} of {each['limit']:,} {each['name']}" for each in limits)
    return f"{spent or 'no limit'} today"
