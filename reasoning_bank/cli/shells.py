"""`completion`: scripts that let a shell complete our commands."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    Examples:
      reasoning-bank completion bash >> ~/.bashrc
      reasoning-bank completion zsh > ~/.zfunc/_reasoning-bank
      reasoning-bank completion fish > ~/.config/fish/completions/reasoning-bank.fish
    """
    root = ctx.find_root()
    completion = get_completion_class(shell)
    assert completion is not None
    script = completion(root.command, {}, "reasoning-bank", "_REASONING_BANK_COMPLETE")
    try:
        click.echo(script.source())
    except RuntimeError as error:  # click looks for bash itself to see its version
        raise click.ClickException(str(error)) from error
