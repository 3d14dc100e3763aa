"""`leaks`: whether work that is repeated leaves anything behind."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options, workspace_of

if TYPE_CHECKING:
    from reasoning_bank.monitoring.leaks import Growth


@click.command("leaks")
@click.option("--here", is_flag=True, help="Search your own bank instead; nothing is stored, or counted as used.")
@click.option(
    "--calls", type=click.IntRange(20, 100_000), default=100, help="Calls between two of four looks (default 100)."
)
@json_option
@settings_options
@click.pass_context
def leaks_command(ctx: click.Context, *, here: bool, calls: int, as_json: bool, load: LoadSettings) -> None:
    """Repeat searches and stores, and name the lines of code that keep more and more memory.

    The work is done on a bank in a temporary directory, a few hundred times, with small caches. The exit code is 1
    where anything grew.

    \b
    Example:
      reasoning-bank leaks --calls 500
    """
    from reasoning_bank.cli.loops import run
    from reasoning_bank.cli.output import print_json, print_table
    from reasoning_bank.cli.repeated import SMALL_CACHES, grown_in_new_bank, grown_in_own_bank

    settings = load(cache=SMALL_CACHES, monitoring={"sample_s": 3_600, "rollups": False})
    if here:
        found = run(_collected, grown_in_own_bank(settings, workspace_of(settings, None), calls))
    else:
        with tempfile.TemporaryDirectory(prefix="reasoning-bank-leaks-", ignore_cleanup_errors=True) as directory:
            temporary = settings.model_copy(update={"data_dir": Path(directory)})
            found = run(_collected, grown_in_new_bank(temporary, calls))
    rows = [
        (work, growth.place, round(growth.bytes_per_call), round(growth.blocks_per_call, 2))
        for work, grown in found.items()
        for growth in grown
    ]
    if as_json:
        print_json(
            [dict(zip(("work", "line", "bytes_per_call", "objects_per_call"), row, strict=True)) for row in rows]
        )
    elif rows:
        print_table(rows, headers=("work", "line", "bytes a call", "objects a call"))
    else:
        click.echo(f"nothing grew: {', '.join(found)}, {calls} calls between looks")
    if rows:
        ctx.exit(1)


async def _collected(found: "AsyncIterator[tuple[str, list[Growth]]]") -> "dict[str, list[Growth]]":
    return {work: grown async for work, grown in found}
