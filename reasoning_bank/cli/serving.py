"""`serve`: the bank over MCP."""

import json
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from reasoning_bank.cli.options import LoadSettings, settings_options

if TYPE_CHECKING:
    from reasoning_bank.settings import Settings


@click.command("serve")
@click.option(
    "--transport",
    type=click.Choice(["stdio", "http"]),
    default="stdio",
    show_default=True,
    help="stdio for the client that starts it, http for several clients.",
)
@click.option("--host", help="Address to listen on (http); off loopback tokens are needed.")
@click.option("--port", type=int, help="Port to listen on (http); 0 takes a free one.")
@click.option("--workspace", "-w", metavar="NAME", help="Workspace of calls that name none.")
@click.option("--profile", type=click.Choice(["core", "full"]), help="Tools offered.")
@settings_options
def serve_command(
    *,
    transport: str,
    host: str | None,
    port: int | None,
    workspace: str | None,
    profile: str | None,
    load: LoadSettings,
) -> None:
    """Serve the bank over MCP, on stdio or HTTP.

    Clients of one machine each start their own server over stdio and share the bank; HTTP serves clients that take a
    URL. It stops at the end of its input (stdio), on SIGTERM or SIGINT, after the calls in flight.

    \b
    Examples:
      reasoning-bank serve
      reasoning-bank serve --transport http --port 8765
    """
    settings = load(http={"host": host, "port": port}, workspace=workspace, profile=profile)
    if transport == "stdio":
        from reasoning_bank.mcp.stdio import serve_stdio

        serve_stdio(settings)
    else:
        from reasoning_bank.mcp.http import serve_http

        serve_http(settings, ready=lambda url: announce(settings, url))


def announce(settings: "Settings", url: str) -> None:
    """Print where the server is, where its data is, and how clients connect."""
    from reasoning_bank.mcp.http import needs_token

    command = [sys.executable, "-m", "reasoning_bank", "serve", *_own_directory(settings)]
    http: dict[str, object] = {"type": "http", "url": url}
    header = ""
    if needs_token(settings.http):
        http["headers"] = {"Authorization": "Bearer rb_... (reasoning-bank token create NAME)"}
        header = ' --header "Authorization: Bearer rb_..."'
    click.echo(
        f"reasoning-bank listens on {url}\n"
        f"data: {settings.data_dir}\n\n"
        "Clients that take a URL (Claude Code, Cursor):\n"
        f"{_snippet(http)}\n"
        f"  or: claude mcp add --transport http reasoning-bank {url}{header}\n\n"
        "Clients that start the server themselves (Claude Desktop, Claude Code, Cursor); they share this bank:\n"
        f"{_snippet({'command': command[0], 'args': command[1:]})}\n"
        f"  or: claude mcp add reasoning-bank -- {shlex.join(command)}\n\n"
        "Stop with Ctrl-C."
    )


def _own_directory(settings: "Settings") -> list[str]:
    """Arguments that lead another process to this bank, which it would not find by itself."""
    usual = type(settings).model_fields["data_dir"].get_default(call_default_factory=True)
    return [] if settings.data_dir == usual else ["--data-dir", str(settings.data_dir)]


def _snippet(server: Mapping[str, object]) -> str:
    return "  " + json.dumps({"mcpServers": {"reasoning-bank": server}})
