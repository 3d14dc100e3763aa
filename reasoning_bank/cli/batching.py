"""Lists for a command: one item per line in, one answer per line out, in the same order."""

import json
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, TypeVar

import click

from reasoning_bank.errors import InputError, ReasoningBankError
from reasoning_bank.records import JsonValue

T = TypeVar("T")
R = TypeVar("R")

batch_option = click.option(
    "--batch",
    type=click.File("rb"),
    metavar="FILE",
    help="Many at once: JSON lines in, JSON lines out, in the same order. - reads standard input.",
)


def one_of(task: str | None, batch: BinaryIO | None) -> None:
    """Refuse a command that names neither a task nor a file of them, or both."""
    if task is None and batch is None:
        raise click.UsageError("Missing argument 'TASK'.", click.get_current_context())
    if task is not None and batch is not None:
        raise click.UsageError("TASK and --batch exclude each other", click.get_current_context())


def run_batch(
    file: BinaryIO,
    *,
    label: str,
    at_once: int,
    read: Callable[[JsonValue], T],
    run: Callable[[Sequence[T]], Sequence[R | ReasoningBankError]],
    show: Callable[[R], JsonValue],
) -> int:
    """Answer every line of a file; how many parts have been done is shown on stderr.

    Args:
        file: JSON lines; empty ones are left out.
        label: what is being done, for the bar.
        at_once: lines that are read and answered together.
        read: an item from a line; raises InputError.
        run: for each item its answer, or the error it was refused with.
        show: an answer as JSON.

    Returns:
        The exit code: 1 where a line was refused. Its answer is `{"error": …}`.
    """
    from reasoning_bank.cli.output import progress_bar

    lines = [line for line in file if line.strip()]
    refused = 0
    with progress_bar(label) as move:
        for start in range(0, len(lines), at_once):
            items = [_read(line, read) for line in lines[start : start + at_once]]
            answers = iter(run([item for item in items if not isinstance(item, InputError)]))
            for item in items:
                answer: Any = item if isinstance(item, InputError) else next(answers)
                refused += isinstance(answer, ReasoningBankError)
                _print_line({"error": str(answer)} if isinstance(answer, ReasoningBankError) else show(answer))
            move(start + len(items), len(lines))
    if refused:
        click.echo(f"{refused} of {len(lines)} lines were refused: their answers say why", err=True)
    return 1 if refused else 0


def _read(line: bytes, read: Callable[[JsonValue], T]) -> T | InputError:
    from reasoning_bank.transfer.rows import decode_line

    try:
        return read(decode_line(line))
    except InputError as error:
        return error


def _print_line(value: JsonValue) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
