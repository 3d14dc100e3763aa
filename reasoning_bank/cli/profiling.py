"""`profile`: where a command spends its time."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from reasoning_bank.errors import ConfigError

FORMATS: Final = {".svg": "flamegraph", ".json": "speedscope"}


@click.command("profile", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    default=Path("profile.svg"),
    metavar="FILE",
    help="The flame graph: FILE.svg for a browser (default profile.svg), FILE.json for speedscope.app.",
)
@click.option("--rate", type=click.IntRange(1, 1_000), default=100, help="Looks a second (default 100).")
@click.option("--idle", is_flag=True, help="Look at threads that wait, too.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def profile_command(*, output: Path, rate: int, idle: bool, command: Sequence[str]) -> None:
    """Run a command of reasoning-bank under a profiler and write a flame graph.

    The profiler is py-spy: install reasoning-bank[profile]. It looks from outside, so the command runs as fast as ever.

    \b
    Examples:
      reasoning-bank profile -- search "flaky test on Windows"
      reasoning-bank profile --output profile.json -- serve --transport http
    """
    if not command:
        raise click.UsageError("a COMMAND is missing: reasoning-bank profile -- search TASK")
    if output.suffix not in FORMATS:
        raise click.UsageError(f"--output is a {' or a '.join(FORMATS)} file, not {output.name!r}")
    beside_python = str(Path(sys.executable).parent)
    profiler = shutil.which("py-spy", path=beside_python) or shutil.which("py-spy")
    if profiler is None:
        raise ConfigError("`profile` needs py-spy: pip install 'reasoning-bank[profile]'")
    output.unlink(missing_ok=True)
    how = ["--output", str(output), "--format", FORMATS[output.suffix], "--rate", str(rate), *(["--idle"] * idle)]
    code = _run_quietly([profiler, "record", *how, "--", sys.executable, "-m", "reasoning_bank", *command])
    if code or not output.is_file():
        raise click.ClickException(
            "py-spy wrote nothing, and said why above. To look into a process takes a right that macOS gives to root "
            "only (sudo), and a container with --cap-add SYS_PTRACE"
        )
    reader = "a browser" if output.suffix == ".svg" else "https://www.speedscope.app"
    click.echo(f"the flame graph is in {output}: open it in {reader}", err=True)


def _run_quietly(command: Sequence[str]) -> int:
    """The exit code of a profiler that writes among the output of what it runs; its own lines go to stderr."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        after_its_own = False
        while True:
            try:
                for line in process.stdout:
                    own = line.startswith(b"py-spy>") or (after_its_own and not line.strip())
                    click.echo(line, nl=False, err=own)
                    after_its_own = own
                return process.wait()
            except KeyboardInterrupt:
                # The command and the profiler got it too: they end, and the graph is written before they do.
                continue
