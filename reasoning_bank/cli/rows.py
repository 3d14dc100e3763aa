"""`import` and `export`: whole workspaces as JSONL."""

import io
import os
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options, workspace_of, workspace_option
from reasoning_bank.errors import BusyError, NotFoundError
from reasoning_bank.records import JsonValue

if TYPE_CHECKING:
    from reasoning_bank.cli.opened import OpenBank
    from reasoning_bank.records import ImportedTrace, StoreResult
    from reasoning_bank.transfer.importing import Imported

SHOWN = 5
"""Workspaces named in the summary; the JSON report has them all."""
TRIES = 120
"""How often an import asks for room, every few seconds: where nothing is worked off for so long, somebody must look."""


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@workspace_option
@click.option("--wait/--no-wait", default=True, help="Wait until every row can be found by meaning (default), or not.")
@click.option("--skip-bad", is_flag=True, help="Leave bad lines out instead of refusing the file.")
@json_option
@settings_options
def import_command(
    file: Path, *, workspace: str | None, wait: bool, skip_bad: bool, as_json: bool, load: LoadSettings
) -> None:
    """Import memories from a JSONL file.

    One object per line: {"id", "text", "metadata": {...}}. The metadata may hold workspace, title, description,
    content, time, speaker, session and turn; everything else in it is stored and never searched. Rows with a session
    and a turn become one trace per session, others one trace each. Secrets are redacted; no row is judged, merged or
    dropped. Running it again stores only what is missing. FILE may be - for standard input.

    \b
    Example:
      reasoning-bank import lessons.jsonl --workspace my-project
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json

    settings = load()
    with open_bank(settings) as bank, _opened(file) as rows:
        report = _import(bank, rows, workspace=workspace, default=workspace_of(settings, None), skip_bad=skip_bad)
        if wait:
            _wait(bank)
    if as_json:
        print_json(_as_json(report))
    else:
        _print(report, waited=wait)


def _import(bank: "OpenBank", rows: BinaryIO, *, workspace: str | None, default: str, skip_bad: bool) -> "Imported":
    from reasoning_bank.cli.output import progress_bar
    from reasoning_bank.transfer.importing import import_rows

    with progress_bar("importing") as move:
        return import_rows(
            rows,
            partial(_store, bank),
            default_workspace=default,
            workspace=workspace,
            skip_bad=skip_bad,
            progress=move,
        )


def _store(bank: "OpenBank", workspace: str, batch: Sequence["ImportedTrace"]) -> "Sequence[StoreResult]":
    """Store a batch once there is room for the work that it leaves; what an assistant stores goes on meanwhile."""
    for _ in range(TRIES):
        try:
            return bank.call(bank.bank.store_many, workspace, batch)
        except BusyError as busy:
            time.sleep(busy.retry_after_s)
    return bank.call(bank.bank.store_many, workspace, batch)


def _wait(bank: "OpenBank") -> None:
    from reasoning_bank.cli.output import progress_bar

    with progress_bar("embedding") as move:
        bank.call(bank.bank.wait_until_searchable, progress=move)


def _as_json(report: "Imported") -> JsonValue:
    return {**asdict(report), "workspaces": list(report.workspaces), "bad": [asdict(line) for line in report.bad]}


def _print(report: "Imported", *, waited: bool) -> None:
    there = report.rows - report.created
    click.echo(
        f"{report.created} memories imported{f', {there} were there already' if there else ''}; "
        f"{report.traces} traces in {_named(report.workspaces)}"
    )
    for line in report.bad:
        click.echo(f"left out {line}", err=True)
    if not waited:
        click.echo("They can be found by keyword now; by meaning once a server or another command has embedded them.")


def _named(workspaces: tuple[str, ...]) -> str:
    shown = ", ".join(workspaces[:SHOWN])
    return f"{shown} and {len(workspaces) - SHOWN} more" if len(workspaces) > SHOWN else shown or "no workspace"


@contextmanager
def _opened(file: Path) -> Generator[BinaryIO]:
    if str(file) == "-":
        yield io.BytesIO(sys.stdin.buffer.read())  # read twice, so it must be held
        return
    with file.open("rb") as rows:
        yield rows


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="-")
@click.option("--workspace", "-w", metavar="NAME", help="Only this workspace; by default all of them.")
@json_option
@settings_options
def export_command(file: Path, *, workspace: str | None, as_json: bool, load: LoadSettings) -> None:
    """Export memories as canonical JSONL.

    Everything the bank knows of traces and memories: words, ids, dates, counters. Importing the file elsewhere and
    exporting again gives the same bytes. Without FILE it goes to standard output; a FILE that exists is replaced once
    the new one is complete.

    \b
    Examples:
      reasoning-bank export backup.jsonl
      reasoning-bank export --workspace my-project | gzip > my-project.jsonl.gz
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json
    from reasoning_bank.transfer.exporting import export_file

    with open_bank(load()) as bank, _target(file) as out:
        _require(bank, workspace)
        report = export_file(bank.each(bank.bank.export_rows(workspace)), out)
    if str(file) == "-":
        return
    if as_json:
        print_json(cast("JsonValue", asdict(report)))
    else:
        click.echo(f"{report.memories} memories of {report.traces} traces written to {file}")


def _require(bank: "OpenBank", workspace: str | None) -> None:
    names = [str(row["name"]) for row in bank.call(bank.bank.workspaces)]
    if workspace is not None and workspace not in names:
        raise NotFoundError(f"no workspace {workspace!r}; there are: {', '.join(names) or 'none'}")


@contextmanager
def _target(file: Path) -> Generator[BinaryIO]:
    """The file to write: readable by its owner only, and there only when it is complete."""
    if str(file) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = file.with_name(f"{file.name}.part")
    try:
        with open(part, "wb", opener=_private) as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
