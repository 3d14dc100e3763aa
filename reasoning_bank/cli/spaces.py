"""`workspace`: what the bank holds for whom, and how strictly secrets are treated there."""

from typing import TYPE_CHECKING, cast

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options

if TYPE_CHECKING:
    from reasoning_bank.privacy.redaction import Mode

MODES = ("off", "redact", "block", "default")


@click.group("workspace")
def workspace_command() -> None:
    """List workspaces, or set the privacy mode of one.

    \b
    Example:
      reasoning-bank workspace list
    """


@workspace_command.command("list")
@json_option
@settings_options
def list_workspaces(*, as_json: bool, load: LoadSettings) -> None:
    """List every workspace with what it holds.

    \b
    Example:
      reasoning-bank workspace list --json
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json, print_table

    with open_bank(load()) as bank:
        rows = bank.call(bank.bank.workspaces)
    if as_json:
        print_json(list(rows))
    else:
        columns = ("name", "traces", "memories", "superseded", "deleted", "privacy_mode")
        print_table([[row[column] for column in columns] for row in rows], headers=columns)


@workspace_command.command("privacy")
@click.argument("name")
@click.argument("mode", type=click.Choice(MODES))
@settings_options
def privacy(name: str, mode: str, *, load: LoadSettings) -> None:
    """Set what happens to secrets in what workspace NAME stores from now on, in every process.

    off keeps them, redact replaces them by placeholders, block refuses the text, default follows the setting
    privacy.mode.

    \b
    Example:
      reasoning-bank workspace privacy payments block
    """
    from reasoning_bank.cli.opened import open_bank

    with open_bank(load()) as bank:
        bank.call(bank.bank.upkeep.set_privacy, name, None if mode == "default" else cast("Mode", mode))
    click.echo(f"{name}: {mode}")
