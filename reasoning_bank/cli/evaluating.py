"""`eval`: how well the bank finds, abstains and compresses, measured on data sets through the real server."""

import dataclasses
import io
import json
import platform
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from reasoning_bank.cli.opened import OpenBank
    from reasoning_bank.evaluation.asking import Ask
    from reasoning_bank.evaluation.compressing import Item
    from reasoning_bank.evaluation.report import Report
    from reasoning_bank.evaluation.sets import EvaluationSet, Scoping
    from reasoning_bank.records import JsonValue, Stage
    from reasoning_bank.settings import Settings

LoadWith = Callable[..., "Settings"]
"""The settings in force, groups given here before all other sources."""
TOKENIZER = "cl100k_base"
"""Budgets of compression are counted in its tokens, whatever the bank counts in."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of one call."""

    names: tuple[str, ...]
    stdio: bool
    ablate: bool
    stages: tuple[str, ...]
    baselines: bool
    scope: str
    without_order: bool
    depths: tuple[int, ...]
    floor_curve: bool
    limit: int | None


@click.command("eval")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--set", "names", multiple=True, metavar="NAME", help="Only this set; repeatable.")
@click.option("--stdio", is_flag=True, help="Ask a server process over stdio, not one inside this process.")
@click.option("--ablate", is_flag=True, help="Ask again without each stage of the rule, and show what it adds.")
@click.option("--stage", "stages", multiple=True, metavar="NAME", help="Leave out only this stage; repeatable.")
@click.option("--baselines", is_flag=True, help="Show BM25 and the embedder alone beside it.")
@click.option(
    "--scope",
    type=click.Choice(["auto", "workspace", "pool"]),
    default="auto",
    help="Search the question's own workspace, or all rows; auto looks where the answers are.",
)
@click.option("--without-order", is_flag=True, help="Import rows without session and turn.")
@click.option(
    "-k", "--k", "depths", type=click.IntRange(1), multiple=True, help="Depth of recall; repeatable.  [1, 5, 10, 20]"
)
@click.option("--floor-curve", is_flag=True, help="What every floor from 0 to 1 would keep and let through.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N questions per set, evenly spaced.")
@click.option("--json", "json_file", metavar="FILE", help="Write all figures as JSON; - is standard output.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the bank here, so that a second run need not import and embed.  [a temporary directory]",
)
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="TOML file with settings."
)
def eval_command(
    directory: Path, *, json_file: str | None, data_dir: Path | None, config: Path | None, **options: object
) -> None:
    """Measure how well the bank finds, abstains and compresses.

    DIRECTORY is a data set or a folder of sets. The rows are imported into a bank of their own (never into yours), the
    questions asked through a real MCP server with the settings in force: your embedder, your floor. Rankings are asked
    for without a floor; latency and abstention with the defaults.

    \b
    A set is a folder with two files of JSON lines:
      corpus.jsonl   {"id": "a1", "text": "...", "metadata": {"workspace": "shop", ...}}   as `import` reads them
      queries.jsonl  {"id": "q1", "text": "...", "relevant": ["a1"],
                      "metadata": {"workspace": "shop", "category": "how-to"}}
    Any other .jsonl file whose rows have a context is a compression set:
      {"id", "question", "context", "evidence": [{"start": 0, "end": 9}], "metadata": {"mode": "all" or "any"}}

    \b
    Examples:
      reasoning-bank eval data                                  every set in data/
      reasoning-bank eval data --set faq --limit 50             a quick look at one
      reasoning-bank eval data --data-dir kept --baselines      keep the bank; beside BM25 and the embedder alone
      reasoning-bank eval data --data-dir kept --ablate --json figures.json
      mkdir mine && reasoning-bank export mine/corpus.jsonl     your own bank: write mine/queries.jsonl, then
      reasoning-bank eval mine

    Figures: R@k is the share of the relevant rows among the first k, nDCG@10 and MRR say how far up they stand,
    intervals are 95 % (bootstrap over questions). `foreign` counts items from a workspace that was not asked: it must
    be 0. Where there are several sets or workspaces, questions are also asked where nothing answers them.
    """
    from reasoning_bank.cli.evaluation_tables import print_report
    from reasoning_bank.evaluation.sets import chosen_sets, find_sets

    wanted = _wanted(options)
    found = chosen_sets(find_sets(directory), wanted.names)
    for line in found.incomplete:
        click.echo(f"left out: {line}", err=True)
    sets = [_read(name, folder, wanted) for name, folder in found.retrieval.items()]
    compression = {name: _read_items(file, wanted) for name, file in found.compression.items()}
    if json_file not in (None, "-") and not Path(json_file).parent.is_dir():
        raise click.BadParameter(f"there is no directory {Path(json_file).parent}", param_hint="--json")
    with _place(data_dir) as place:
        run = _Run(wanted, sets, compression, _loading(config, place))
        run.check()
        report = run.prepare()
        run.measure(report)
    _write(report, json_file)
    if json_file != "-":
        print_report(report)


def _wanted(options: dict[str, object]) -> Wanted:
    from reasoning_bank.evaluation.metrics import DEPTHS

    wanted = Wanted(**options)  # pyright: ignore[reportArgumentType] -- click has checked them by these names
    depths = tuple(sorted(set(wanted.depths))) or DEPTHS
    return dataclasses.replace(wanted, depths=depths, stages=_known_stages(wanted))


def _known_stages(wanted: Wanted) -> tuple[str, ...]:
    from reasoning_bank.evaluation.report import STAGES

    for stage in wanted.stages:
        if stage not in STAGES:
            raise click.BadParameter(f"no stage {stage!r}; there are: {', '.join(STAGES)}", param_hint="--stage")
    return wanted.stages or (STAGES if wanted.ablate else ())


def _read(name: str, folder: Path, wanted: Wanted) -> "EvaluationSet":
    from reasoning_bank.evaluation.sets import read_set

    data = read_set(name, folder, scoping=cast("Scoping", wanted.scope), ordered=not wanted.without_order)
    return data.limited(wanted.limit) if wanted.limit else data


def _read_items(file: Path, wanted: Wanted) -> "list[Item]":
    from reasoning_bank.evaluation.compressing import read_items
    from reasoning_bank.evaluation.sets import spaced

    items = read_items(file)
    return spaced(items, wanted.limit) if wanted.limit else items


@contextmanager
def _place(kept: Path | None) -> Generator[Path]:
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="reasoning-bank-eval-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def _loading(config: Path | None, place: Path) -> LoadWith:
    from reasoning_bank.settings import load_settings

    def load(**given: object) -> "Settings":
        return load_settings(config, data_dir=place, **given)

    return load


def _write(report: "Report", file: str | None) -> None:
    if file is None:
        return
    text = json.dumps(report.as_json(), ensure_ascii=False, indent=1)
    if file == "-":
        click.echo(text)
    else:
        Path(file).write_text(f"{text}\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Run:
    """One evaluation: the sets, the files of compression sets, and the settings."""

    wanted: Wanted
    sets: "Sequence[EvaluationSet]"
    compression: "Mapping[str, Sequence[Item]]"
    load: LoadWith

    def check(self) -> None:
        """Refuse what would fail after minutes."""
        limits = self.load().limits
        if (deepest := max(self.wanted.depths)) > limits.k:
            raise click.BadParameter(f"{deepest} is above limits.k, which is {limits.k}", param_hint="--k")

    def prepare(self) -> "Report":
        """Import what the bank does not have yet, embed it, and measure the baselines while the bank is open."""
        from reasoning_bank.cli.opened import open_bank
        from reasoning_bank.evaluation.report import Report

        if not self.sets:
            return Report(self._setup({}))
        with open_bank(self.load()) as bank:
            for data in self.sets:
                _import(bank, data)
            _wait(bank)
            report = Report(self._setup(bank.bank.rooms.model.embedder.identity.as_mapping()))
            if self.wanted.baselines:
                self._baselines(bank, report)
        return report

    def measure(self, report: "Report") -> None:
        """Ask the server everything that was asked for."""
        from reasoning_bank.cli.output import progress_bar
        from reasoning_bank.evaluation.report import Measures, measure_sets

        if self.sets:
            wanted = self.wanted
            measures = Measures(
                wanted.depths, curve=wanted.floor_curve, ablated=cast("tuple[Stage, ...]", wanted.stages)
            )
            measure_sets(report, self.sets, self._connect, measures=measures, bar=progress_bar)
        if self.compression:
            self._compress(report)

    @contextmanager
    def _connect(self, without: "Sequence[Stage]") -> "Generator[Ask]":
        from reasoning_bank.cli.clients import Questions, connected

        # Nothing given leaves what the settings say; an ablation leaves out one stage more.
        settings = self.load()
        if without:
            settings = self.load(retrieval={"without": (*settings.retrieval.without, *without)})
        with connected(settings, stdio=self.wanted.stdio) as client:
            questions = Questions(client)
            questions.wait_ready([space for data in self.sets for space in data.spaces])
            yield questions

    def _compress(self, report: "Report") -> None:
        from reasoning_bank.cli.clients import Compression, connected
        from reasoning_bank.cli.output import progress_bar
        from reasoning_bank.evaluation.compressing import compress_set
        from reasoning_bank.text.tokens import counter

        settings = self.load(compression={"tokenizer": TOKENIZER})
        count = counter(TOKENIZER, settings.assets_dir).count
        with connected(settings, stdio=self.wanted.stdio) as client:
            for name, items in self.compression.items():
                with progress_bar(f"compressing {name}") as move:
                    report.compression[name] = compress_set(
                        items, Compression(client), count_tokens=count, progress=move
                    )

    def _baselines(self, bank: "OpenBank", report: "Report") -> None:
        from reasoning_bank.cli.output import progress_bar
        from reasoning_bank.evaluation.baselines import bm25_figures, dense_figures
        from reasoning_bank.evaluation.metrics import means
        from reasoning_bank.evaluation.vectors import KeptVectors

        depths = self.wanted.depths
        for data in self.sets:
            with progress_bar(f"baselines of {data.name}") as move:
                vectors = KeptVectors(bank.bank.rooms.model.embedder, bank.bank.settings.data_dir, progress=move)
                report.baselines[data.name] = {
                    "bm25": means(bm25_figures(data, depths=depths)),
                    "dense": means(dense_figures(data, vectors.encode, depths=depths)),
                }

    def _setup(self, embedder: "dict[str, JsonValue]") -> "dict[str, JsonValue]":
        from importlib.metadata import version

        settings = self.load()
        return {
            "version": version("reasoning-bank"),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "embedder": embedder,
            "surface": "stdio" if self.wanted.stdio else "in process",
            "ordered": not self.wanted.without_order,
            "questions_per_set": self.wanted.limit,
            "ranking": {"k": max(self.wanted.depths), "min_score": 0},
            "default": {"k": settings.retrieval.k, "floor": settings.retrieval.floor},
            "without": list(settings.retrieval.without),
        }


def _import(bank: "OpenBank", data: "EvaluationSet") -> None:
    from reasoning_bank.cli.output import progress_bar
    from reasoning_bank.transfer.importing import import_rows

    held = {row["name"]: cast("int", row["memories"]) for row in bank.call(bank.bank.workspaces)}
    if sum(held.get(space, 0) for space in data.spaces) == len(data.items):
        return
    with progress_bar(f"importing {data.name}") as move:
        import_rows(
            io.BytesIO(data.rows),
            lambda workspace, batch: bank.call(bank.bank.store_many, data.space(workspace), batch),
            default_workspace="",
            workspace=None if data.scoped else data.base,
            progress=move,
        )


def _wait(bank: "OpenBank") -> None:
    from reasoning_bank.cli.output import progress_bar

    with progress_bar("embedding") as move:
        bank.call(bank.bank.wait_until_searchable, progress=move)
