"""`report` without a further word: how the bank performed in a period, and what changed since another one."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reasoning_bank.cli.options import LoadSettings

if TYPE_CHECKING:
    from reasoning_bank.cli.opened import OpenBank
    from reasoning_bank.monitoring.report import Report
    from reasoning_bank.records import JsonValue


def print_performance(
    load: LoadSettings, *, asked: str, between: Sequence[str] | None, output: Path | None, as_json: bool
) -> None:
    """Print the report on a period, or write it into a file whose ending says the format.

    Args:
        asked: the period, in the words of `monitoring.report.period`.
        between: two periods, or saved reports; then the second is told with what changed since the first.
    """
    from reasoning_bank.cli.opened import open_bank

    with open_bank(load()) as bank:
        before, report = [_report(bank, each) for each in between] if between else (None, _report(bank, asked))
    kind = "json" if as_json else output.suffix.removeprefix(".") if output else "text"
    text = _written(report, before, kind)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        click.echo(f"{output}: {report.title}", err=True)


def _report(bank: "OpenBank", which: str) -> "Report":
    from reasoning_bank.monitoring.report import Report, period

    if which.endswith(".json"):
        try:
            return Report.of_plain(json.loads(Path(which).read_text(encoding="utf-8")))
        except ValueError as error:
            raise click.UsageError(f"{which}: {error}") from error
    since, until = period(which, now=datetime.now(UTC))
    return bank.call(bank.bank.figures.report, since, until)


def _written(report: "Report", before: "Report | None", kind: str) -> str:
    from reasoning_bank.monitoring.pages import page_of, text_of

    if kind == "json":
        return json.dumps(_plain(report, before), ensure_ascii=False, indent=2) + "\n"
    return page_of(report, before) if kind in ("html", "htm") else text_of(report, before)


def _plain(report: "Report", before: "Report | None") -> "JsonValue":
    from reasoning_bank.monitoring.report import compared

    if before is None:
        return report.plain()
    changes: list[JsonValue] = [
        {
            "metric": change.metric,
            "before": change.before.plain(),
            "after": change.after.plain(),
            "ratio": change.ratio,
            "verdict": change.verdict,
        }
        for change in compared(before, report)
    ]
    return {"changes": changes, "before": before.plain(), "after": report.plain()}
