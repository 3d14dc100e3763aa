"""`advise`: which settings to change, by what was measured; and those that were changed on advice."""

from typing import TYPE_CHECKING

import click

from reasoning_bank.cli.options import LoadSettings, json_option, settings_options
from reasoning_bank.errors import ConfigError

if TYPE_CHECKING:
    from reasoning_bank.figures import Applied
    from reasoning_bank.monitoring.advice import OptimizationReport, Recommendation
    from reasoning_bank.monitoring.trials import Trial
    from reasoning_bank.records import JsonValue


@click.command("advise")
@click.option("--apply", "wanted", is_flag=True, help="Try what is safe; what does not help is taken back by itself.")
@click.option("--only", metavar="NAME", multiple=True, help="Apply this advice only; may be repeated.")
@click.option("--undo", is_flag=True, help="Take back every setting that was changed on advice.")
@json_option
@settings_options
def advise_command(*, wanted: bool, only: tuple[str, ...], undo: bool, as_json: bool, load: LoadSettings) -> None:
    """Say what to change, by what all processes of the bank measured in the last day.

    Each piece of advice names its figures, the setting and the value to change, and what to expect. Nothing is advised
    that no figure speaks for. What you set yourself is never changed; of the rest `--apply` tries what changes speed
    and memory only. A server that runs takes it up within seconds, measures for `monitoring.trial_s` and keeps it where
    the figure became better beyond chance; what nobody can tell of after ten times as long is taken back.

    \b
    Examples:
      reasoning-bank advise
      reasoning-bank advise --apply --only cache-too-small-retrieval
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json

    settings = load()
    if wanted and settings.monitoring.tune == "off":
        raise ConfigError("monitoring.tune is off: nothing is changed on advice")
    with open_bank(settings) as bank:
        figures = bank.bank.figures
        if undo:
            click.echo(f"{bank.call(figures.take_back)} changes taken back", err=True)
        advice = bank.call(figures.stored_recommendations)
        applied = bank.call(figures.apply, only=set(only) or None, stored=True) if wanted else None
        trials = bank.call(figures.trials)
    if as_json:
        print_json(_plain(advice, applied, trials))
    else:
        _print(advice, applied, trials)


def _plain(advice: "OptimizationReport", applied: "Applied | None", trials: "list[Trial]") -> "JsonValue":
    plain = advice.plain()
    plain["trials"] = [trial.plain() for trial in trials]
    if applied is not None:
        plain["applied"] = [trial.setting for trial in applied.begun]
        plain["left"] = [f"{each.name}: {why}" for each, why in applied.left]
    return plain


def _print(advice: "OptimizationReport", applied: "Applied | None", trials: "list[Trial]") -> None:
    if not advice.recommendations:
        click.echo("nothing to change, by what was measured in the last day")
    for title, steps in advice.implementation_plan:
        click.secho(title, bold=True)
        for each in steps:
            _print_one(each)
    for trial in trials:
        click.echo(
            f"{trial.state.replace('_', ' ')}: {trial.setting} {trial.previous} -> {trial.value}; {trial.reason}"
        )
    for each, why in applied.left if applied else ():
        click.echo(f"left as it is: {each.name}, {why}")


def _print_one(each: "Recommendation") -> None:
    evidence = ", ".join(f"{name} = {value:.4g}" for name, value in each.evidence.items())
    click.echo(f"  {each.name} ({each.priority.value} priority)")
    click.echo(f"    {each.description}")
    click.echo(f"    measured: {evidence}")
    click.echo(f"    change:   {each.example.replace(chr(10), ' ')}")
    click.echo(f"    expected: {each.expected}")
