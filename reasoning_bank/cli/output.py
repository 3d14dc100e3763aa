"""How results are printed: JSON for programs, short aligned lines for people."""

import json
import shutil
import textwrap
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager

import click

from reasoning_bank.records import JsonValue


def print_json(value: JsonValue) -> None:
    """Print one JSON document, readable by people too."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(rows: Iterable[Sequence[object]], *, headers: Sequence[str]) -> None:
    """Print rows in aligned columns under their headers; None is a dash."""
    lines = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(headers), *lines]) for column in range(len(headers))]
    click.secho(_aligned(headers, widths), bold=True)
    for line in lines:
        click.echo(_aligned(line, widths))


def paragraph(text: str, *, indent: int, lines: int) -> str:
    """The text wrapped to the terminal, at most so many lines; the rest is announced by an ellipsis."""
    width = min(shutil.get_terminal_size().columns, 120) - indent
    wrapped = [part for line in text.strip().splitlines() for part in textwrap.wrap(line, max(width, 20)) or [""]]
    shown = wrapped[:lines] + (["…"] if len(wrapped) > lines else [])
    return textwrap.indent("\n".join(shown), " " * indent)


@contextmanager
def progress_bar(label: str) -> Generator[Callable[[int, int], None]]:
    """A bar on stderr, moved by calls of (done, total); without a terminal there is only its label."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        click.echo(label, err=True)
        yield lambda _done, _total: None
        return
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=max(total, 1))


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()
