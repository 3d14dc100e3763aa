"""`doctor`: is everything in place, and what to do where it is not."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options
from reasoning_bank.errors import StorageError

if TYPE_CHECKING:
    from reasoning_bank.diagnosis import Check
    from reasoning_bank.settings import Settings

MARKS = {"ok": ("ok  ", "green"), "warning": ("note", "yellow"), "failure": ("FAIL", "red")}


@click.command("doctor")
@click.option("--rebuild-index", is_flag=True, help="Build the vector index anew from the truth first.")
@click.option("--retry", is_flag=True, help="Try background work again that was given up, first.")
@click.option("--llm", "ask_models", is_flag=True, help="Ask each language model a question of a few tokens, too.")
@json_option
@settings_options
def doctor_command(*, rebuild_index: bool, retry: bool, ask_models: bool, as_json: bool, load: LoadSettings) -> None:
    """Check files, schema, index, model and queue, and say what to do.

    Ends with 1 when a check failed. Nothing is changed unless an option says so, but work that waits is begun, as by
    any process that opens the bank.

    \b
    Examples:
      reasoning-bank doctor
      reasoning-bank doctor --rebuild-index
      reasoning-bank doctor --llm
    """
    from reasoning_bank.cli.output import print_json

    checks = _checks(load(), rebuild_index=rebuild_index, retry=retry, ask_models=ask_models)
    if as_json:
        print_json([{"name": c.name, "status": c.status, "detail": c.detail, "advice": c.advice} for c in checks])
    else:
        _print(checks)
    if any(check.status == "failure" for check in checks):
        click.get_current_context().exit(1)


def _checks(settings: "Settings", *, rebuild_index: bool, retry: bool, ask_models: bool) -> "list[Check]":
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.diagnosis import Check

    try:
        with open_bank(settings) as bank:
            if rebuild_index:
                click.echo(f"vector index: {bank.call(bank.bank.upkeep.rebuild_index)}", err=True)
            if retry:
                bank.call(bank.bank.upkeep.retry_given_up)
            checks = bank.call(bank.bank.diagnose, ask_models=ask_models)
    except StorageError as error:
        checks = [Check("bank", "failure", f"{settings.data_dir} cannot be opened", str(error))]
    return [_workspace(settings), *checks]


def _workspace(settings: "Settings") -> "Check":
    from reasoning_bank.diagnosis import Check
    from reasoning_bank.mcp.workspace import resolve_workspace
    from reasoning_bank.settings import project_directory

    chosen = resolve_workspace(settings.workspace, project=project_directory(), directory=Path.cwd())
    return Check("workspace", "ok", f"{chosen.name}, by {chosen.why}", None)


def _print(checks: "list[Check]") -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark, colour = MARKS[check.status]
        click.echo(f"{click.style(mark, fg=colour)}  {check.name.ljust(width)}  {check.detail}")
        if check.advice and check.status != "ok":
            click.echo(f"      {' ' * width}  -> {check.advice}")
