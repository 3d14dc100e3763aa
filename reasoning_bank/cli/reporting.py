"""`report`: what became of memories, and what they were good for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options, workspace_of, workspace_option

if TYPE_CHECKING:
    from reasoning_bank.learning.lift import Lift, Share
    from reasoning_bank.records import JsonValue


@click.group("report")
def report_command() -> None:
    """Show what memories were good for, what is out of use, and what was done to a memory.

    \b
    Example:
      reasoning-bank report lift
    """


@report_command.command("lift")
@workspace_option
@click.option("--least", type=click.IntRange(1), metavar="N", help="Tasks below which nothing is said (default 5).")
@json_option
@settings_options
def lift(*, workspace: str | None, least: int | None, as_json: bool, load: LoadSettings) -> None:
    """Compare how tasks ended with and without each memory.

    A task had a memory when it was given for it before its trace was stored. The interval (95 %) says what so few tasks
    can tell; memories are given where they fit, so a difference is an observation and no proof.

    \b
    Example:
      reasoning-bank report lift --json
    """
    from reasoning_bank.cli.opened import open_bank, warn_of_missing
    from reasoning_bank.cli.output import print_json, print_table
    from reasoning_bank.learning.lift import LEAST

    settings = load()
    with open_bank(settings) as bank:
        name = workspace_of(settings, workspace)
        warn_of_missing(bank, name)
        found = bank.call(bank.bank.upkeep.lift, name, least=least or LEAST)
    if as_json:
        print_json([_plain(each) for each in found])
    elif found:
        print_table([_cells(each) for each in found], headers=_HEADERS)
    else:
        click.echo("no task with a known end was given a memory yet")


@report_command.command("quarantine")
@workspace_option
@json_option
@settings_options
def quarantine(*, workspace: str | None, as_json: bool, load: LoadSettings) -> None:
    """List the memories that are kept but never served, and why.

    \b
    Example:
      reasoning-bank report quarantine
    """
    from reasoning_bank.cli.opened import open_bank, warn_of_missing
    from reasoning_bank.cli.output import print_json, print_table

    settings = load()
    with open_bank(settings) as bank:
        name = workspace_of(settings, workspace)
        warn_of_missing(bank, name)
        found = bank.call(bank.bank.upkeep.quarantined, name)
    rows = [(each.id, each.item.title or each.item.text[:80], each.quarantined_for or "") for each in found]
    if as_json:
        print_json([{"id": id_, "title": title, "reason": reason} for id_, title, reason in rows])
    elif rows:
        print_table(rows, headers=("id", "title", "reason"))
    else:
        click.echo("nothing is quarantined")


@report_command.command("refused")
@workspace_option
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, help="Most rows (default 20).")
@json_option
@settings_options
def refused(*, workspace: str | None, limit: int, as_json: bool, load: LoadSettings) -> None:
    """List what was not worth remembering, and why, latest first; the texts themselves are not kept.

    \b
    Example:
      reasoning-bank report refused
    """
    from reasoning_bank.cli.opened import open_bank, warn_of_missing
    from reasoning_bank.cli.output import print_json, print_table

    settings = load()
    with open_bank(settings) as bank:
        name = workspace_of(settings, workspace)
        warn_of_missing(bank, name)
        found = bank.call(bank.bank.upkeep.refused, name, limit=limit)
    rows = [
        (each.created_at.isoformat(timespec="seconds"), each.rejection.title, each.rejection.reason) for each in found
    ]
    if as_json:
        print_json([{"at": at, "title": title, "reason": reason} for at, title, reason in rows])
    elif rows:
        print_table(rows, headers=("at", "title", "reason"))
    else:
        click.echo("nothing was refused")


@report_command.command("history")
@click.argument("id")
@workspace_option
@json_option
@settings_options
def history(id: str, *, workspace: str | None, as_json: bool, load: LoadSettings) -> None:
    """Show what the bank did to memory ID by itself.

    That is merges, changes of trust and pruning, each with its reason; restoring it too.

    \b
    Example:
      reasoning-bank report history m_7k2d4lq3zc5x6v8b
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json, print_table

    settings = load()
    with open_bank(settings) as bank:
        name = workspace_of(settings, workspace)
        found = bank.call(bank.bank.upkeep.history, name, id)
        if not found:
            bank.call(bank.bank.get_memories, name, [id])  # says so where there is no such memory
    if as_json:
        print_json(
            [
                {
                    "at": each.at.isoformat(),
                    "event": each.event,
                    "before": each.before,
                    "after": each.after,
                    "reason": each.reason,
                }
                for each in found
            ]
        )
    elif found:
        rows = [(each.at.isoformat(), each.event, each.before or "-", each.after or "-", each.reason) for each in found]
        print_table(rows, headers=("at", "event", "before", "after", "reason"))
    else:
        click.echo(f"{id}: nothing was done to it")


_HEADERS = ("memory", "title", "with it", "without", "difference", "95 %", "finding")


def _cells(each: "Lift") -> Sequence[object]:
    interval = f"{each.low:+.2f} to {each.high:+.2f}"
    return (
        each.id,
        each.title[:50],
        _share(each.with_it),
        _share(each.without),
        f"{each.difference:+.2f}",
        interval,
        each.finding,
    )


def _share(share: "Share") -> str:
    return f"{share.solved} of {share.tasks}"


def _plain(each: "Lift") -> "JsonValue":
    return {
        "id": each.id,
        "title": each.title,
        "with": {"solved": each.with_it.solved, "tasks": each.with_it.tasks},
        "without": {"solved": each.without.solved, "tasks": each.without.tasks},
        "difference": each.difference,
        "low": each.low,
        "high": each.high,
        "finding": each.finding,
    }
