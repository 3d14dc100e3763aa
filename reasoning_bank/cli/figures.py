"""`stats`: what the bank holds and how it performs."""

from typing import TYPE_CHECKING

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options, workspace_of, workspace_option

if TYPE_CHECKING:
    from reasoning_bank.records import JsonValue


@click.command("stats")
@workspace_option
@click.option("--all", "every", is_flag=True, help="List every workspace instead.")
@json_option
@settings_options
def stats_command(*, workspace: str | None, every: bool, as_json: bool, load: LoadSettings) -> None:
    r"""Show what the bank holds and how it performs.

    Counts are of the bank, whoever wrote it; latencies and caches are of this process, so a running server's own are
    read over MCP (bank://stats).

    \b
    Examples:
      reasoning-bank stats
      reasoning-bank stats --all --json
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json, print_table, print_tree

    settings = load()
    with open_bank(settings) as bank:
        if every:
            rows = bank.call(bank.bank.workspaces)
            columns = list(rows[0]) if rows else ["name"]
            if as_json:
                print_json(list["JsonValue"](rows))
            else:
                print_table([[row.get(name) for name in columns] for row in rows], headers=columns)
            return
        stats = bank.call(bank.bank.stats, workspace_of(settings, workspace))
    if as_json:
        print_json(stats)
    else:
        print_tree(stats)
