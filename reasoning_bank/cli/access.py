"""`token`: who may reach the bank over HTTP."""

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options, workspace_of, workspace_option

if TYPE_CHECKING:
    from reasoning_bank.records import JsonValue
    from reasoning_bank.storage.tokens import Token

SCOPES = ("read", "write", "metrics")


@click.group("token")
def token_command() -> None:
    """Create, list or revoke bearer tokens for HTTP.

    A token opens one workspace. Only its digest is kept, so it is shown once. The scope `metrics` is about the whole
    server: its figures at /metrics and /performance, and no memory.

    \b
    Example:
      reasoning-bank token create laptop --workspace my-project
    """


@token_command.command("create")
@click.argument("name")
@workspace_option
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    default=("read", "write"),
    help="What it allows; repeatable.",
)
@click.option("--days", type=click.IntRange(min=1), help="Days until it expires; without it never.")
@json_option
@settings_options
def create(
    name: str, *, workspace: str | None, scopes: tuple[str, ...], days: int | None, as_json: bool, load: LoadSettings
) -> None:
    """Create a token and print it, this once.

    \b
    Examples:
      reasoning-bank token create laptop
      reasoning-bank token create dashboard --scope read --days 90
      reasoning-bank token create prometheus --scope metrics
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json

    settings = load()
    lifetime = None if days is None else timedelta(days=days)
    chosen = workspace_of(settings, workspace)
    with open_bank(settings) as bank:
        made = bank.call(
            bank.bank.upkeep.create_token,
            chosen,
            name=name,
            scopes=scopes,
            lifetime=lifetime,
        )
    if as_json:
        print_json({"id": made.id, "token": made.secret, "workspace": chosen})
    else:
        click.echo(made.secret)
        click.echo(f"opens workspace {chosen} to {' and '.join(scopes)}; it is not shown again", err=True)


@token_command.command("list")
@click.option("--workspace", "-w", metavar="NAME", help="Only tokens of this workspace.")
@json_option
@settings_options
def list_tokens(*, workspace: str | None, as_json: bool, load: LoadSettings) -> None:
    """List tokens, without their secrets.

    \b
    Example:
      reasoning-bank token list
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json, print_table

    with open_bank(load()) as bank:
        tokens = bank.call(bank.bank.upkeep.list_tokens, workspace)
    if as_json:
        print_json([_as_json(token) for token in tokens])
    else:
        headers = ("id", "name", "workspace", "scopes", "created", "expires", "revoked")
        print_table([_as_row(token) for token in tokens], headers=headers)


@token_command.command("revoke")
@click.argument("token_id", metavar="ID")
@settings_options
def revoke(token_id: str, *, load: LoadSettings) -> None:
    """End a token now; `token list` shows the ids.

    \b
    Example:
      reasoning-bank token revoke 3f9a0c21d4b7
    """
    from reasoning_bank.cli.opened import open_bank

    with open_bank(load()) as bank:
        bank.call(bank.bank.upkeep.revoke_token, token_id)
    click.echo(f"{token_id} is revoked")


def _as_json(token: "Token") -> "JsonValue":
    return {
        "id": token.id,
        "name": token.name,
        "workspace": token.workspace,
        "scopes": list(token.scopes),
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        "revoked_at": token.revoked_at.isoformat() if token.revoked_at else None,
    }


def _as_row(token: "Token") -> tuple[str, ...]:
    ends = [
        f"{moment:%Y-%m-%d}" if moment else "-" for moment in (token.created_at, token.expires_at, token.revoked_at)
    ]
    return (token.id, token.name, token.workspace, ", ".join(token.scopes), *ends)
