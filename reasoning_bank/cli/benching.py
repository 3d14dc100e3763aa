"""`bench`: what the bank's promises come to on this machine, and whether they still hold."""

import difflib
import logging
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from reasoning_bank.cli.opened import OpenBank
    from reasoning_bank.evaluation.bench.claims import Claim
    from reasoning_bank.evaluation.bench.comparing import Results
    from reasoning_bank.evaluation.bench.rows import Measured, Row
    from reasoning_bank.evaluation.bench.workbench import Workbench


@click.command("bench")
@click.option("--quick", "scale", flag_value="quick", help="Fewer rounds, 1,000 memories: under a minute.")
@click.option("--full", "scale", flag_value="full", help="More rounds, up to 100,000 memories: a quarter of an hour.")
@click.option("--only", "names", multiple=True, metavar="NAME", help="Only this row; repeatable.")
@click.option(
    "--compare",
    "earlier",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Hold the ratios to those of an earlier run; exit code 1 where one is worse by more than 20 %, or missing.",
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the result as JSON."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, not as a table.")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="TOML file with settings."
)
@click.pass_context
def bench_command(
    ctx: click.Context,
    *,
    scale: str | None,
    names: tuple[str, ...],
    earlier: Path | None,
    output: Path | None,
    as_json: bool,
    config: Path | None,
) -> None:
    """Measure what the bank's promises come to on this machine.

    Each row does the same work both ways in turn, without and with what is claimed, so that a busy machine slows both:
    what counts is the ratio. Banks are made in a temporary directory (yours is not touched) and filled with made-up
    lessons; embedder and everything else are as your settings say.

    \b
    Examples:
      reasoning-bank bench --quick
      reasoning-bank bench --output before.json && … && reasoning-bank bench --compare before.json
      reasoning-bank bench --only retrieval_10k --only pooling --json

    A row that cannot be measured here says why. An interval is that of the median ratio, 95 %.
    """
    from reasoning_bank.evaluation.bench.comparing import Results, read_results
    from reasoning_bank.evaluation.bench.machine import machine

    claims = _chosen(names)
    then = read_results(earlier) if earlier else None
    where = machine()
    with _workbench(scale or "default", config) as bench:
        now = Results(where, scale or "default", tuple(_measured(bench, claims)))
    if output:
        output.write_text(f"{now.as_json()}\n", encoding="utf-8")
    if as_json:
        click.echo(now.as_json())
    else:
        _print_rows(now)
    if then is not None and not _kept(then, now, names, table=not as_json):
        ctx.exit(1)


def _chosen(names: Sequence[str]) -> "list[Claim]":
    from reasoning_bank.evaluation.bench.claims import CLAIMS

    known = {claim.name: claim for claim in CLAIMS}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
            raise click.BadParameter(f"no row {name!r}; {hint}", param_hint="--only")
    return [claim for claim in CLAIMS if not names or claim.name in names]


@contextmanager
def _workbench(scale: str, config: Path | None) -> "Generator[Workbench]":
    from reasoning_bank.assets import Assets
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.embeddings.backends import open_embedder
    from reasoning_bank.evaluation.bench.workbench import SCALES, Workbench
    from reasoning_bank.opening import embedder_choice, outgoing, redaction_rules
    from reasoning_bank.settings import load_settings

    settings = load_settings(config)
    choice = embedder_choice(settings, outgoing(b"", redaction_rules(settings)))

    # A machine that is kept busy on purpose raises alerts: they are no news here.
    logging.getLogger("reasoning_bank.figures").setLevel(logging.ERROR)

    def opened(directory: Path, groups: Mapping[str, object]) -> "AbstractContextManager[OpenBank]":
        return open_bank(load_settings(config, data_dir=directory, **groups))

    with (
        tempfile.TemporaryDirectory(prefix="reasoning-bank-bench-", ignore_cleanup_errors=True) as directory,
        Workbench(
            open_bank=opened,
            embedder=lambda: open_embedder(choice, Assets(settings.assets_dir, allow_download=False)),
            assets=settings.assets_dir,
            directory=Path(directory),
            scale=SCALES[scale],
        ) as bench,
    ):
        yield bench


def _measured(bench: "Workbench", claims: "Sequence[Claim]") -> "Generator[Row]":
    from reasoning_bank.evaluation.bench.claims import measured

    for number, claim in enumerate(claims, start=1):
        click.echo(f"{number}/{len(claims)} {claim.name}", err=True)
        yield measured(claim, bench)


def _print_rows(results: "Results") -> None:
    from reasoning_bank.cli.output import print_table

    table = [
        (row.name, " → ".join(row.ways), *_cells(row.measured)) for row in results.rows if row.measured is not None
    ]
    if table:
        print_table(table, headers=("ROW", "COMPARED", "WITHOUT", "WITH", "UNIT", "RATIO", "INTERVAL", "N", "BESIDE"))
    for row in results.rows:
        if row.measured is None:
            click.echo(f"not measured: {row.name}: {row.skipped}")


def _cells(measured: "Measured") -> tuple[object, ...]:
    beside = ", ".join(f"{name} {value:.3g}" for name, value in measured.figures.items())
    interval = f"{measured.low:.2f} to {measured.high:.2f}"
    costs = f"{measured.before:.4g}", f"{measured.after:.4g}"
    return *costs, measured.unit, f"{measured.ratio:.2f}x", interval, measured.n, beside


def _kept(then: "Results", now: "Results", names: Sequence[str], *, table: bool) -> bool:
    """Whether no ratio is worse or missing; what became of each is printed, on stderr where stdout is taken."""
    from reasoning_bank.cli.output import print_table
    from reasoning_bank.evaluation.bench.comparing import compare, other_machine

    for line in other_machine(then, now):
        click.echo(f"measured on another machine: {line}", err=True)
    changes = compare(then, now, only=names)
    if table:
        click.echo()
        rows = [(one.name, _shown(one.then), _shown(one.now), one.verdict, one.reason) for one in changes]
        print_table(rows, headers=("ROW", "THEN", "NOW", "VERDICT", ""))
    said = {"worse": "worse than before", "missing": "measured before, and not now"}
    lost = {verdict: [one.name for one in changes if one.verdict == verdict] for verdict in said}
    for verdict, missed in lost.items():
        if missed:
            click.echo(f"{said[verdict]}: {', '.join(missed)}", err=True)
    return not any(lost.values())


def _shown(measured: "Measured | None") -> str | None:
    """The ratio and both costs: they tell whether one way got slower or the other one faster."""
    if measured is None:
        return None
    return f"{measured.ratio:.2f}x ({measured.before:.3g} → {measured.after:.3g} {measured.unit})"
