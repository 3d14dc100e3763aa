"""A report as a page of its own, without scripts and without anything from elsewhere; and as text."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import zip_longest
from textwrap import wrap

from reasoning_bank.monitoring.charts import charts, drawable
from reasoning_bank.monitoring.report import Report, compared
from reasoning_bank.monitoring.tables import Table, comparison_table, tables

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1b1f24 }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } svg { width: 100%; height: auto }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #d9dee3; vertical-align: top }
.critical, .worse { color: #b3261e; font-weight: 600 } .warning { color: #8a5a00; font-weight: 600 }
.better { color: #1a7f37; font-weight: 600 } .none { color: #606b76 }
@media (prefers-color-scheme: dark) { body { background: #14171a; color: #e6e9ec } svg { background: #fff } }
"""
_WIDEST = 44
_MARKED = frozenset({"critical", "warning", "better", "worse"})


def text_of(report: Report, before: Report | None = None) -> str:
    """The report as text; with another one before it, what changed first."""
    blocks = [
        f"{table.title}\n{_aligned(table) if table.rows else f'  {table.otherwise}'}"
        for table in _tables(report, before)
    ]
    return "\n\n".join((f"Performance, {_title(report, before)}", *blocks)) + "\n"


def page_of(report: Report, before: Report | None = None) -> str:
    """The report as an HTML page; with another one before it, what changed first."""
    title = f"Performance, {_title(report, before)}"
    drawn = "".join(_charts([before, report] if before else [report]))
    body = "".join(_section(table) for table in _tables(report, before))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{drawn}{body}</body></html>\n"
    )


def _title(report: Report, before: Report | None) -> str:
    return f"{report.title}, after {before.title}" if before else report.title


def _tables(report: Report, before: Report | None) -> Iterator[Table]:
    if before is not None:
        yield comparison_table(compared(before, report))
    yield from tables(report)


def _aligned(table: Table) -> str:
    rows = [_wrapped(row) for row in (table.headers, *table.rows)]
    lines = [line for row in rows for line in row]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.headers))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _wrapped(row: Sequence[str]) -> list[tuple[str, ...]]:
    """A row as several lines where a cell is long: sentences, and lists of figures."""
    cells = [wrap(cell, _WIDEST, break_long_words=False, break_on_hyphens=False) or [""] for cell in row]
    return list(zip_longest(*cells, fillvalue=""))


def _charts(reports: Sequence[Report]) -> Iterator[str]:
    if not drawable():
        yield (
            '<p class="none">Charts need the extra <code>report</code>: '
            "<code>pip install 'reasoning-bank[report]'</code>. The tables are complete without it.</p>\n"
        )
        return
    for title, svg in charts(reports):
        yield f"<h2>{escape(title)}</h2>\n{svg}\n"


def _section(table: Table) -> str:
    head = f"<h2>{escape(table.title)}</h2>\n"
    if not table.rows:
        return f'{head}<p class="none">{escape(table.otherwise)}</p>\n'
    titles = "".join(f"<th>{escape(each)}</th>" for each in table.headers)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in table.rows)
    return f"{head}<table><thead><tr>{titles}</tr></thead>\n<tbody>{rows}</tbody></table>\n"


def _cell(text: str) -> str:
    marked = f' class="{text}"' if text in _MARKED else ""
    return f"<td{marked}>{escape(text)}</td>"
