"""How results are printed: JSON for programs, short aligned lines for people."""

import json
import shutil
import sys
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
    with click.progressbar(length=1, label=label, file=sys.stderr, show_pos=True) as bar:

        def move(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield move


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()
