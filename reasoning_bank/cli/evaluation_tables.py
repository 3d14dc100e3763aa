"""An evaluation as tables that a person can read."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import click

from reasoning_bank.cli.output import print_table
from reasoning_bank.evaluation.abstention import Abstention, Pair, injected_at
from reasoning_bank.evaluation.asking import SetFigures
from reasoning_bank.evaluation.compressing import CompressionFigures
from reasoning_bank.evaluation.metrics import Interval, Latency
from reasoning_bank.evaluation.report import Report

Figures = Mapping[str, Interval]
WITH_INTERVAL = ("R@10", "nDCG@10")
"""Figures printed with their interval; the JSON has all of them."""
SHOWN_MISSED = 5
"""Questions without an answer that are named; the JSON names them all."""
SHOWN_FLOORS = 10
"""One floor of so many is printed; the JSON has them all."""


def print_report(report: Report) -> None:
    """Print every part that was measured."""
    if report.sets:
        _title("Retrieval: mean over questions [95 % interval]")
        _print_sets(report)
        _print_categories(report.sets)
        _title("Latency of a search with the defaults: p50 / p95 in milliseconds")
        _print_latency(report.sets)
    if report.ablation:
        _title("Without one stage: change of R@10 / nDCG@10 (* the interval of the change excludes 0)")
        _print_ablation(report)
    if report.abstention is not None:
        _print_abstention(report.abstention)
    for name, figures in report.compression.items():
        _title(f"Compression of {name}, {figures.items} items: evidence kept (success)")
        _print_compression(figures)


def _title(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _print_sets(report: Report) -> None:
    names = list(next(iter(report.sets.values())).figures)
    rows: list[Sequence[object]] = []
    for name, found in report.sets.items():
        how = "scoped" if found.scoped else "one pool"
        held = f"{found.memories} in {found.workspaces}" if found.scoped else str(found.memories)
        rows.append([name, how, held, found.queries, *_cells(found.figures, names), found.foreign_items])
        rows += [
            [f"  {baseline}", "", "", "", *_cells(figures, names), ""]
            for baseline, figures in report.baselines.get(name, {}).items()
        ]
    print_table(rows, headers=("set", "searched", "rows", "questions", *names, "foreign"))
    for name, found in report.sets.items():
        if found.missed:
            named = ", ".join(found.missed[:SHOWN_MISSED])
            more = f" and {len(found.missed) - SHOWN_MISSED} more (--json names all)"
            click.echo(f"{name}: nothing found for {named}{more if len(found.missed) > SHOWN_MISSED else ''}")
        if found.degraded:
            click.echo(f"{name}: {found.degraded} answers lacked a strategy even when asked again", err=True)


def _print_categories(sets: Mapping[str, SetFigures]) -> None:
    rows = [
        [name, category, some.queries, *_cells(some.figures, list(some.figures))]
        for name, found in sets.items()
        if len(found.categories) > 1
        for category, some in found.categories.items()
    ]
    if rows:
        _title("By category")
        print_table(rows, headers=("set", "category", "questions", *next(iter(sets.values())).figures))


def _print_latency(sets: Mapping[str, SetFigures]) -> None:
    stages = sorted({stage: None for found in sets.values() for stage in found.stages}, key=lambda s: s == "total")
    rows = [["whole call", *(_times(found.latency) for found in sets.values())]]
    rows += [[stage, *(_times(found.stages.get(stage)) for found in sets.values())] for stage in stages]
    print_table(rows, headers=("stage", *sets))


def _print_ablation(report: Report) -> None:
    rows = [
        [stage, *(" / ".join(map(_change, _chosen(figures, ("R@10", "nDCG@10")))) for figures in by_set.values())]
        for stage, by_set in report.ablation.items()
    ]
    print_table(rows, headers=("without", *report.sets))


def _print_abstention(found: Abstention) -> None:
    _title("Abstention: share of questions answered with something where nothing answers them, at the default floor")
    if found.pairs:
        _print_pairs(found.pairs, lambda pair: _share(pair.injected))
        click.echo("(a set asked in itself: in other workspaces than the question's own)")
        if found.injected_mean is not None:
            click.echo(f"mean of the pairs between sets: {_share(found.injected_mean)}")
    else:
        click.echo("one set of one workspace: there is nowhere else to ask")
    kept = ", ".join(f"{name} {_share(share)}" for name, share in found.kept.items())
    click.echo(f"recall@3 kept by the floor: {_share(found.kept_mean)} ({kept})")
    if found.curve:
        _title("Floors: recall@3 kept, foreign questions answered")
        points = [*found.curve[::SHOWN_FLOORS], *([found.best] if found.best else [])]
        rows = [[f"{p.floor:.2f}", _share(p.kept), _share(p.injected)] for p in sorted(points, key=lambda p: p.floor)]
        print_table(rows, headers=("floor", "kept", "injected"))
        if found.best:
            floor = found.best.floor
            _title(f"Foreign questions answered at {floor:.2f}, the highest floor that keeps 95 %")
            _print_pairs(found.pairs, lambda pair: _share(injected_at(pair, floor)))


def _print_pairs(pairs: Sequence[Pair], shown: Callable[[Pair], str]) -> None:
    asked_in = list(dict.fromkeys(pair.asked_in for pair in pairs))
    by_pair = {(pair.questions_of, pair.asked_in): shown(pair) for pair in pairs}
    rows = [
        [name, *(by_pair.get((name, other), "") for other in asked_in)]
        for name in dict.fromkeys(pair.questions_of for pair in pairs)
    ]
    print_table(rows, headers=("questions of", *(f"asked in {name}" for name in asked_in)))


def _print_compression(figures: CompressionFigures) -> None:
    budgets = list(next(iter(figures.methods.values())))
    rows = [
        [method, *(f"{_mean(f.figures['evidence'])} ({_mean(f.figures['success'])})" for f in by_budget.values())]
        for method, by_budget in figures.methods.items()
    ]
    print_table(rows, headers=("method", *budgets))
    if over := sum(found.over_budget for found in figures.methods["reasoning-bank"].values()):
        click.echo(f"{over} results of reasoning-bank are over budget", err=True)


def _cells(figures: Figures, names: Iterable[str]) -> list[str]:
    return [
        f"{_mean(figures[name])} [{figures[name].low:.3f}, {figures[name].high:.3f}]"
        if name in WITH_INTERVAL
        else _mean(figures[name])
        for name in names
    ]


def _chosen(figures: Figures, names: Iterable[str]) -> list[Interval]:
    return [figures[name] for name in names if name in figures]


def _mean(each: Interval) -> str:
    return f"{each.value:.3f}"


def _change(each: Interval) -> str:
    return f"{each.value:+.3f}{'*' if each.low > 0 or each.high < 0 else ''}"


def _times(found: Latency | None) -> str:
    return f"{found.p50_ms:.1f} / {found.p95_ms:.1f}" if found else "-"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
