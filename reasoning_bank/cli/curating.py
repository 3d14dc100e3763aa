"""`restore` and `prune`: what a person decides about memories that the bank itself took out of use, or would."""

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


def _counted(count: int) -> str:
    return "1 memory" if count == 1 else f"{count} memories"


_HEADERS = ("memory", "title", "worth", "why")
