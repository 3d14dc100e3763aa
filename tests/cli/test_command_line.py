"""The command line as a whole: what it loads, what it says, how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from reasoning_bank.cli import COMMANDS, cli, main

HEAVY = ("numpy", "sqlalchemy", "chromadb", "onnxruntime", "torch", "mcp", "pydantic", "rich")


def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "reasoning_bank", *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(option: str) -> None:
    code = (
        "import sys\n"
        "from reasoning_bank.cli import main\n"
        "try:\n    main([sys.argv[1]])\n"
        f"finally:\n    print(sorted({set(HEAVY)!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, option], capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )
    assert done.returncode == 0
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_the_list_of_commands_says_what_the_commands_say_of_themselves() -> None:
    context = click.Context(cli)
    for name, (_, summary) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert (command.help or "").splitlines()[0] == summary


def commands(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        nested = commands(command, *path, name) if isinstance(command, click.Group) else []
        found += [(*path, name), *nested]
    return found


@pytest.mark.parametrize("path", commands(cli), ids=" ".join)
def test_the_help_of_every_command_has_an_example_that_names_it(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, [*path, "--help"], prog_name="reasoning-bank")
    assert done.exit_code == 0
    assert "Example" in done.output
    assert f"\n    reasoning-bank {' '.join(path)}" in done.output, "examples have lines of their own"
    assert "\\b" not in done.output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["serach"], "no command 'serach'; did you mean 'search'?"),
        (["search"], "Missing argument 'TASK'. (see reasoning-bank search --help)"),
        (["search", "x", "-k", "many"], "'many' is not a valid integer"),
        (["stats", "--since", "x"], "No such option"),
        (["import", "/no/such/file.jsonl"], "does not exist"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["assets", "list", "--config", "/no/such.toml"], "cannot read the configuration file '/no/such.toml'"),
    ],
)
def test_wrong_usage_is_one_line_on_stderr_and_exit_code_2(
    arguments: list[str], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capfd.readouterr()
    assert end.value.code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert complaint in err


@pytest.mark.parametrize("group", ["token", "assets", "workspace"])
def test_a_group_without_a_command_shows_its_help_and_no_error(group: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([group])
    out, err = capfd.readouterr()
    assert (end.value.code, out) == (2, "")
    assert err.startswith(f"Usage: reasoning-bank {group}")
    assert "error" not in err


def test_an_unknown_setting_in_the_environment_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REASONING_BANK_DATADIR", "/tmp/x")
    with pytest.raises(SystemExit) as end:
        main(["assets", "list"])
    assert end.value.code == 2
    assert "data_dir" in capfd.readouterr().err


def test_assets_are_listed_as_json_and_a_missing_one_fails_verification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REASONING_BANK_ASSETS_DIR", str(tmp_path / "assets"))
    with pytest.raises(SystemExit) as end:
        main(["assets", "list", "--json"])
    assert end.value.code == 0
    listed = json.loads(capfd.readouterr().out)
    assert {asset["state"] for asset in listed} == {"missing"}
    with pytest.raises(SystemExit) as end:
        main(["assets", "verify"])
    out, err = capfd.readouterr()
    assert end.value.code == 1
    assert listed[0]["name"] in out
    assert err.startswith("error: ")
    assert "run: reasoning-bank assets install" in err


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_completion_script_calls_the_installed_command(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["completion", shell])
    assert end.value.code == 0
    assert "_REASONING_BANK_COMPLETE" in capfd.readouterr().out


def test_a_shell_completes_commands_without_loading_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_REASONING_BANK_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "reasoning-bank se")
    monkeypatch.setenv("COMP_CWORD", "1")
    done = run()
    assert done.stdout.split() == ["plain,serve", "plain,search"]
