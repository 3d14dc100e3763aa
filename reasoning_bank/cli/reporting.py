"""`report`: how the bank performed, what became of memories, and what they were good for."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options, workspace_of, workspace_option

if TYPE_CHECKING:
    from reasoning_bank.cli.opened import OpenBank
    from reasoning_bank.learning.lift import Lift, Share
    from reasoning_bank.records import JsonValue

T = TypeVar("T")


@click.group("report", invoke_without_command=True)
@click.option("--day", "asked", flag_value="day", default="day", help="The last 24 hours (what is shown anyway).")
@click.option("--week", "asked", flag_value="week", help="The last seven days.")
@click.option("--period", "asked", metavar="WHEN", help="today, yesterday, a date, or BEGIN/END in ISO 8601.")
@click.option(
    "--compare", nargs=2, metavar="A B", help="What changed from A to B: periods, as above, or saved .json reports."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    metavar="FILE",
    help="Write it into a file: .html with charts, .json to compare with later, or text.",
)
@json_option
@settings_options
@click.pass_context
def report_command(
    context: click.Context,
    *,
    asked: str,
    compare: tuple[str, str] | None,
    output: Path | None,
    as_json: bool,
    load: LoadSettings,
) -> None:
    """Show how the bank performed, what it should change, and what memories were good for.

    Without a further word: times, errors, caches and alerts of a period, of all servers together, with advice. What a
    server measures is written every few minutes; commands are not counted.

    \b
    Examples:
      reasoning-bank report --week --output week.html
      reasoning-bank report --compare yesterday today
      reasoning-bank report lift
    """
    if context.invoked_subcommand is None:
        from reasoning_bank.cli.performance import print_performance

        print_performance(load, asked=asked, between=compare, output=output, as_json=as_json)


@report_command.command("reset")
@click.confirmation_option(prompt="Forget every figure that was measured so far?", help="Do not ask.")
@settings_options
def reset(*, load: LoadSettings) -> None:
    """Forget what was measured so far, so that a report is about what follows.

    A server that runs goes on with its own figures; memories and traces are not touched.

    \b
    Example:
      reasoning-bank report reset --yes
    """
    from reasoning_bank.cli.opened import open_bank

    with open_bank(load()) as bank:
        gone = bank.call(bank.bank.figures.reset, stored=True)
    click.echo(f"{gone} rows of figures forgotten")


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
    from reasoning_bank.cli.output import print_json, print_table
    from reasoning_bank.learning.lift import LEAST

    found = _asked(load, workspace, lambda bank, name: bank.call(bank.bank.upkeep.lift, name, least=least or LEAST))
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
    from reasoning_bank.cli.output import print_json, print_table

    found = _asked(load, workspace, lambda bank, name: bank.call(bank.bank.upkeep.quarantined, name))
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
    from reasoning_bank.cli.output import print_json, print_table

    found = _asked(load, workspace, lambda bank, name: bank.call(bank.bank.upkeep.refused, name, limit=limit))
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


def _asked(load: LoadSettings, workspace: str | None, ask: "Callable[[OpenBank, str], T]") -> T:
    """What an open bank answers about a workspace; says so where there is none of the name."""
    from reasoning_bank.cli.opened import open_bank, warn_of_missing

    settings = load()
    with open_bank(settings) as bank:
        name = workspace_of(settings, workspace)
        warn_of_missing(bank, name)
        return ask(bank, name)


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
