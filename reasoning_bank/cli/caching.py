"""`cache`: what is kept to save work, and dropping it."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options

if TYPE_CHECKING:
    from reasoning_bank.cache.named import Cache
    from reasoning_bank.cli.opened import OpenBank

_TRIES: Final = 4
_PAUSE_S: Final = 1.1


@click.group("cache")
def cache_command() -> None:
    """Show or empty the caches of the bank.

    Caches are only ever faster, never different: emptying one loses time, nothing else.

    \b
    Examples:
      reasoning-bank cache stats
      reasoning-bank cache clear llm
    """


@cache_command.command("stats")
@json_option
@settings_options
def show(*, as_json: bool, load: LoadSettings) -> None:
    """Show every cache: where it is, how full, and how much it saves.

    What is in the memory of a running server only that server knows: see bank://stats, or GET /performance.

    \b
    Example:
      reasoning-bank cache stats --json
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json, print_table

    with open_bank(load()) as bank:
        statistics = bank.call(bank.bank.rooms.caches.statistics)
    if as_json:
        print_json(dict(statistics))
        return
    headers = ("cache", "in", "entries", "of", "MB", "of", "hits", "of")
    print_table([_row(name, said) for name, said in statistics.items()], headers=headers)
    click.echo("entries in memory, and hits, are those of this command: a server tells its own at bank://stats")


@cache_command.command("clear")
@click.argument("name", required=False)
@click.option("--workspace", "-w", metavar="NAME", help="Only what is kept for this workspace.")
@json_option
@settings_options
def clear(name: str | None, *, workspace: str | None, as_json: bool, load: LoadSettings) -> None:
    """Empty the cache NAME, or all: what outlives a process, in files and Redis.

    What is in the memory of a running server ends with it; it is never outdated.

    \b
    Example:
      reasoning-bank cache clear llm
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json

    with open_bank(load()) as bank:
        dropped = _cleared(bank, name, workspace)
    if as_json:
        print_json(dict(dropped))
        return
    for each, count in dropped.items():
        click.echo(f"{each}: {_said(count)}")
    if not dropped:
        click.echo("nothing to empty: every cache is in the memory of the servers that use it, and ends with them")


def _cleared(bank: "OpenBank", name: str | None, workspace: str | None) -> dict[str, int | None]:
    """Entries dropped, by the names of the caches that outlive a process; None where a store did not answer."""
    chosen = bank.bank.rooms.caches.chosen(name)
    return {each: _dropped(bank, cache, workspace) for each, cache in chosen.items() if cache.memory is None}


def _dropped(bank: "OpenBank", cache: "Cache[Any]", workspace: str | None) -> int | None:
    # A store gives up after a fraction of a second, since a server must not wait for it; a person would rather.
    for _ in range(_TRIES):
        before = cast("Mapping[str, Any]", bank.call(cache.statistics))
        bank.call(cache.clear, workspace)
        after = cast("Mapping[str, Any]", bank.call(cache.statistics))
        if after["failures"] == before["failures"]:
            return before["cache_size"] - after["cache_size"]
        time.sleep(_PAUSE_S)
    return None


def _said(count: int | None) -> str:
    if count is None:
        return "did not answer, nothing was dropped"
    return "1 entry dropped" if count == 1 else f"{count} entries dropped"


def _row(name: str, said: Mapping[str, Any]) -> tuple[str, ...]:
    megabytes, most = (f"{(said[each] or 0) / 2**20:.1f}" for each in ("bytes", "max_bytes"))
    counts = (said["hits"], said["total_requests"])
    return (name, said["backend"], str(said["cache_size"]), str(said["max_size"]), megabytes, most, *map(str, counts))
