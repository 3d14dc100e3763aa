"""`restore`, `prune` and `purge`: what a person decides about memories out of use, of no use, or of one origin."""

from dataclasses import asdict
from datetime import UTC, datetime

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options, workspace_of, workspace_option


@click.command("restore")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@workspace_option
@settings_options
def restore_command(ids: tuple[str, ...], *, workspace: str | None, load: LoadSettings) -> None:
    """Bring quarantined memories back into use.

    They are trusted as before; ratings until now no longer count against them. `report quarantine` lists them.

    \b
    Example:
      reasoning-bank restore m_7k2d4lq3zc5x6v8b
    """
    from reasoning_bank.cli.opened import open_bank

    settings = load()
    with open_bank(settings) as bank:
        for id_ in ids:
            memory = bank.call(bank.bank.upkeep.restore, workspace_of(settings, workspace), id_)
            click.echo(f"{id_}: trust {memory.item.trust}")


@click.command("prune")
@workspace_option
@click.option("--above", type=click.IntRange(1), metavar="N", help="Memories to keep; by default learning.prune_above.")
@click.option("--dry-run", is_flag=True, help="Only list what would be forgotten, and why.")
@click.option(
    "--undo-since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    metavar="DATE",
    help="Bring back what was pruned since (UTC).",
)
@json_option
@settings_options
def prune_command(
    *,
    workspace: str | None,
    above: int | None,
    dry_run: bool,
    undo_since: datetime | None,
    as_json: bool,
    load: LoadSettings,
) -> None:
    """Forget what never was of use in a workspace that outgrew its size.

    What ever helped, is trusted, was imported, stands for others or is younger than 30 days stays. Forgotten memories
    can be brought back.

    \b
    Examples:
      reasoning-bank prune --above 10000 --dry-run
      reasoning-bank prune --undo-since 2026-11-01
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json, print_table

    settings = load()
    with open_bank(settings) as bank:
        name, upkeep = workspace_of(settings, workspace), bank.bank.upkeep
        if undo_since is not None:
            back = bank.call(upkeep.undo_pruning, name, since=undo_since.replace(tzinfo=UTC))
            click.echo(f"{_counted(len(back))} brought back")
            return
        size = settings.learning.prune_above if above is None else above
        listed = bank.call(upkeep.prune, name, above=size, dry_run=dry_run) if size else []
    if as_json:
        print_json([{"id": each.id, "title": each.title, "worth": each.worth, "why": each.why} for each in listed])
        return
    if listed:
        print_table([(each.id, each.title[:50], each.worth, each.why) for each in listed], headers=_HEADERS)
    click.echo(f"{_counted(len(listed))}{' would be' if dry_run else ''} forgotten")


@click.command("purge")
@click.option("--client", metavar="NAME", help="What this MCP client sent: its name, or NAME/VERSION.")
@click.option("--token", metavar="ID", help="What came with this access token (`token list` shows the ids).")
@click.option("--kind", type=click.Choice(["mcp", "capture", "library", "import"]), help="What came by this door.")
@click.option("--dry-run", is_flag=True, help="Only list what would be forgotten.")
@click.option(
    "--undo-since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    metavar="DATE",
    help="Bring back what was purged since (UTC).",
)
@workspace_option
@json_option
@settings_options
def purge_command(
    *, workspace: str | None, dry_run: bool, undo_since: datetime | None, as_json: bool, load: LoadSettings, **way: str
) -> None:
    """Forget everything that came from one client, token or kind of source.

    With several options only what fits all of them. What the forgotten memories had taken in or overruled, and that
    came by another way, holds again. Forgotten memories can be brought back; traces stay.

    \b
    Examples:
      reasoning-bank purge --token 3f9a1c0b2d4e --dry-run
      reasoning-bank purge --client cursor --kind capture
      reasoning-bank purge --undo-since 2026-11-01
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json, print_table
    from reasoning_bank.learning.purging import Way

    settings = load()
    with open_bank(settings) as bank:
        name, upkeep = workspace_of(settings, workspace), bank.bank.upkeep
        if undo_since is not None:
            back = bank.call(upkeep.undo_purge, name, since=undo_since.replace(tzinfo=UTC))
            click.echo(f"{_counted(len(back))} brought back")
            return
        listed = bank.call(upkeep.purge, name, Way(**way), dry_run=dry_run)
    if as_json:
        print_json([asdict(each) for each in listed])
        return
    if listed:
        rows = [(each.id, each.title[:50], each.kind, each.client or "-", each.token or "-") for each in listed]
        print_table(rows, headers=("memory", "title", "kind", "client", "token"))
    click.echo(f"{_counted(len(listed))}{' would be' if dry_run else ''} forgotten")


def _counted(count: int) -> str:
    return "1 memory" if count == 1 else f"{count} memories"


_HEADERS = ("memory", "title", "worth", "why")
