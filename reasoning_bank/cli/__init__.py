"""The command line `reasoning-bank`.

Each command imports its own room when it runs, so that `--help` and `--version` load neither numpy nor SQLAlchemy nor
a model; the commands themselves are found by name in `COMMANDS` and imported only when called.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from reasoning_bank.errors import ConfigError, ReasoningBankError

COMMANDS = {
    "serve": ("serving", "Serve the bank over MCP, on stdio or HTTP."),
    "demo": ("demonstration", "See it work: a real MCP client stores, asks and compresses."),
    "doctor": ("checkup", "Check files, schema, index, model and queue, and say what to do."),
    "import": ("rows", "Import memories from a JSONL file."),
    "export": ("rows", "Export memories as canonical JSONL."),
    "stats": ("figures", "Show what the bank holds and how it performs."),
    "search": ("questions", "Ask the bank for the memories that help with a task."),
    "compress": ("compressing", "Shorten a prompt to a token budget: FILE, or standard input."),
    "store": ("storing", "Store what happened on a task, and what it teaches."),
    "capture": ("storing", "Keep an answer from a conversation, if it is worth remembering."),
    "cache": ("caching", "Show or empty the caches of the bank."),
    "report": ("reporting", "Show how the bank performed, what it should change, and what memories were good for."),
    "advise": ("advising", "Say what to change, by what all processes of the bank measured in the last day."),
    "restore": ("curating", "Bring quarantined memories back into use."),
    "prune": ("curating", "Forget what never was of use in a workspace that outgrew its size."),
    "purge": ("curating", "Forget everything that came from one client, token or kind of source."),
    "eval": ("evaluating", "Measure how well the bank finds, abstains and compresses."),
    "profile": ("profiling", "Run a command of reasoning-bank under a profiler and write a flame graph."),
    "leaks": ("leaking", "Repeat searches and stores, and name the lines of code that keep more and more memory."),
    "bench": ("benching", "Measure what the bank's promises come to on this machine."),
    "assets": ("weights", "Install, list or verify model weights and tokenizer ranks."),
    "token": ("access", "Create, list or revoke bearer tokens for HTTP."),
    "workspace": ("spaces", "List workspaces, or set the privacy mode of one."),
    "completion": ("shells", "Print the completion script for a shell."),
}
"""Command -> (module, first line of its help): the list is shown without importing anything."""

EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, n=1)
            raise click.UsageError(f"no command {cmd_name!r}{f'; did you mean {near[0]!r}?' if near else ''}", ctx)
        module = importlib.import_module(f"reasoning_bank.cli.{COMMANDS[cmd_name][0]}")
        return getattr(module, f"{cmd_name}_command")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"reasoning-bank {version('reasoning-bank')}")
        ctx.exit()


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """A memory bank for AI assistants: traces in, few relevant memories out.

    Without a command it serves MCP on stdio when its input is not a terminal (that is how assistants start it), and
    prints this help when it is.

    \b
    Start here:
      reasoning-bank demo                        see it work, in a temporary directory
      reasoning-bank doctor                      is everything in place?
      reasoning-bank serve --transport http      one server for several clients

    Settings: arguments, REASONING_BANK_* variables, a TOML file (--config), defaults, in this order.
    """
    if ctx.invoked_subcommand is not None:
        return
    if sys.stdin is None or sys.stdin.isatty():
        click.echo(ctx.get_help())
        return
    serve = cli.get_command(ctx, "serve")
    assert serve is not None
    ctx.invoke(serve)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        # Not click's standalone mode: it prints the usage before each error; ours are one line.
        code = cli.main(args=arguments, prog_name="reasoning-bank", standalone_mode=False)
    except click.Abort:
        return _complain("interrupted", EXIT_INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:  # its message is the help, not what is wrong
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        return _complain(_usage(error), error.exit_code)
    except ConfigError as error:
        return _complain(str(error), EXIT_USAGE)
    except ReasoningBankError as error:
        return _complain(str(error), EXIT_FAILURE)
    except BrokenPipeError:
        # The reader of our output left (`| head`): nothing to say, and no second error when stdout is flushed at exit.
        sys.stdout = None
        return EXIT_FAILURE
    except OSError as error:  # a file of the user's that cannot be read or written; the bank's own are StorageErrors
        return _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error), EXIT_FAILURE)
    return code if isinstance(code, int) else 0


def _usage(error: click.ClickException) -> str:
    where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else None
    return f"{error.format_message()}{f' (see {where} --help)' if where else ''}"


def _complain(text: str, code: int) -> int:
    click.echo(f"error: {text}", err=True)
    return code
