"""Options that several commands share; each passes one ready value on."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import click

if TYPE_CHECKING:
    from reasoning_bank.settings import Settings


class LoadSettings(Protocol):
    """Returns the settings in force; what is given here goes before all other sources, None is "not given"."""

    def __call__(self, **given: object) -> "Settings":
        """Read them.

        Raises:
            ConfigError: a key is unknown or a value out of bounds.
        """
        ...


Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
workspace_option = click.option(
    "--workspace", "-w", metavar="NAME", help="Workspace; by default the setting's, the project's, or 'default'."
)


def settings_options(command: Command) -> Command:
    """Add `--config` and `--data-dir`; the command receives `load`, which returns the settings in force.

    `load(http={"port": 8080})` lets an option of the command go before everything else.
    """

    @click.option(
        "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="TOML file with settings."
    )
    @click.option(
        "--data-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Directory of the bank."
    )
    @functools.wraps(command)
    def configured(*args: Any, config: Path | None, data_dir: Path | None, **kwargs: Any) -> Any:
        def load(**given: object) -> "Settings":
            from reasoning_bank.settings import load_settings

            return load_settings(config, data_dir=data_dir, **{name: _given(value) for name, value in given.items()})

        return command(*args, load=load, **kwargs)

    return configured  # pyright: ignore[reportReturnType] -- the same command with two more options


def _given(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {key: part for key, part in cast("dict[str, object]", value).items() if part is not None}


def workspace_of(settings: "Settings", named: str | None) -> str:
    """The workspace a command means: the one named, else the same one that a server started here would use."""
    from reasoning_bank.mcp.workspace import resolve_workspace
    from reasoning_bank.settings import project_directory

    return resolve_workspace(named or settings.workspace, project=project_directory(), directory=Path.cwd()).name
