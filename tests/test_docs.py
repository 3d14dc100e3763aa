"""What the documents say is so: tables are generated, blocks run, every public thing is mentioned."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import click
import pytest
from mcp import Client, StdioServerParameters

import reasoning_bank
from reasoning_bank.settings import Settings, load_settings, setting_names
from tests.reference import (
    OF_CACHES,
    README,
    bench_table,
    between,
    caches_table,
    commands,
    commands_table,
    settings_table,
    tools_table,
)

REPOSITORY = README.parent
CLIENTS = REPOSITORY / "config" / "clients"
COMMAND = "/absolute/path/to/reasoning-bank"
NOT_RUN = ("pip ",)
"""First words of README's commands that need a network; what they name is checked instead."""


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def blocks(language: str, name: str = "README.md") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", read(name), re.DOTALL | re.MULTILINE)


def shell_lines() -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def without_model(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a child process that needs no model's weights."""
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    return dict(os.environ)


@pytest.mark.parametrize(
    ("name", "table"),
    [("tools", tools_table), ("commands", commands_table), ("settings", settings_table), ("bench", bench_table)],
)
def test_generated_tables_are_current(name: str, table: Any) -> None:
    assert between(read("README.md"), name) == table(), "run `make docs`"


def test_every_setting_is_documented() -> None:
    documented = between(read("README.md"), "settings")
    names = [name for name, _ in setting_names() if not name.startswith(OF_CACHES)]
    assert [name for name in names if f"`{name}`" not in documented] == []
    assert between(read("README.md"), "caches") == caches_table()


def test_every_tool_resource_and_prompt_is_documented() -> None:
    from reasoning_bank.mcp.prompts import PROMPTS
    from reasoning_bank.mcp.tools import FULL

    text = read("README.md")
    resources = set(re.findall(r'"(bank://[^"]+)"', read("reasoning_bank/mcp/resources.py")))
    assert [name for name in [tool.name for tool in FULL] + [*PROMPTS, *resources] if f"`{name}`" not in text] == []


def test_every_public_name_is_documented() -> None:
    text = read("README.md")
    assert [name for name in reasoning_bank.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_every_command_has_help_and_every_option_says_what_it_does() -> None:
    silent: list[str] = []
    for name, command in commands():
        silent += [] if command.help else [name]
        silent += [f"{name} {p.name}" for p in command.params if isinstance(p, click.Option) and not p.help]
    assert silent == []


def test_every_make_target_named_in_the_documents_exists() -> None:
    named = {target for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md") for target in targets(read(name))}
    assert named <= set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))


def targets(text: str) -> set[str]:
    return set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))


def test_ci_runs_the_test_command_of_the_readme() -> None:
    section = read("README.md").split("## Tests")[1]
    command = re.search(r"```bash\n(.*?)\n```", section, re.DOTALL)
    assert command is not None
    assert f"\n{command[1]}\n" in read(".ci/run")


def test_every_kind_of_command_in_the_readme_is_checked_here() -> None:
    assert [line for line in shell_lines() if not line.startswith(("make ", "reasoning-bank ", *NOT_RUN))] == []


def test_commands_of_the_readme_run(without_model: dict[str, str]) -> None:
    for line in shell_lines():
        if line.startswith("reasoning-bank "):
            arguments = [part.strip('"') for part in re.findall(r'"[^"]*"|\S+', line)[1:]]
            done = subprocess.run(
                [sys.executable, "-m", "reasoning_bank", *arguments],
                capture_output=True, encoding="utf-8", env=without_model, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_extras_named_in_the_readme_exist() -> None:
    pyproject = read("pyproject.toml")
    for extra in re.findall(r"pip install \"\.\[([\w-]+)\]\"", read("README.md")):
        assert f"\n{extra} = [" in pyproject


def test_python_of_the_readme_runs(without_model: dict[str, str]) -> None:
    for code, shown in zip(blocks("python"), ("Derive a key from the content", "{'one': 3, 'two': 3}"), strict=True):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, encoding="utf-8", env=without_model, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout


def test_toml_of_the_readme_is_accepted(tmp_path: Path) -> None:
    found: list[Settings] = []
    for number, block in enumerate(blocks("toml")):
        path = tmp_path / f"{number}.toml"
        path.write_text(block, encoding="utf-8")
        found.append(load_settings(path))
    assert [(one.llm.model, one.embeddings.backend) for one in found] == [
        ("ollama:qwen3:8b", "onnx"),
        (None, "sentence_transformers"),
    ]


def snippets() -> dict[str, dict[str, Any]]:
    found = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(CLIENTS.glob("*.json"))}
    found["README.md"] = json.loads(blocks("json")[0])
    return {name: server_of(snippet) for name, snippet in found.items()}


def server_of(snippet: dict[str, Any]) -> dict[str, Any]:
    servers = cast("dict[str, dict[str, Any]]", snippet.get("mcpServers") or snippet["servers"])
    assert list(servers) == ["reasoning-bank"]
    return servers["reasoning-bank"]


async def test_stdio_snippets_start_a_server_that_lists_its_tools(without_model: dict[str, str]) -> None:
    """All clients run the same command, so it is started once."""
    stdio = {name: server for name, server in snippets().items() if "command" in server}
    assert len(stdio) == 5
    started = {(server["command"], *server["args"]) for server in stdio.values()}
    assert started == {(COMMAND, "serve")}
    script = Path(sys.executable).with_name("reasoning-bank")
    async with Client(StdioServerParameters(command=str(script), args=["serve"], env=without_model)) as client:
        assert "retrieve_memory" in {tool.name for tool in (await client.list_tools()).tools}


def test_http_snippets_name_the_default_address_and_carry_a_token() -> None:
    http = Settings().http
    remote = {name: server for name, server in snippets().items() if "url" in server}
    assert len(remote) == 3
    for name, server in remote.items():
        assert server["url"] == f"http://{http.host}:{http.port}{http.path}", name
        assert server["headers"]["Authorization"].startswith("Bearer "), name


def test_every_snippet_is_listed_with_its_place() -> None:
    listed = (CLIENTS / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in CLIENTS.glob("*.json") if f"`{path.name}`" not in listed] == []


def test_architecture_is_short_and_names_every_room() -> None:
    text = read("ARCHITECTURE.md")
    assert len(text.splitlines()) <= 240
    package = REPOSITORY / "reasoning_bank"
    rooms = [path.name + "/" for path in package.iterdir() if (path / "__init__.py").is_file()]
    rooms += [path.name for path in package.glob("*.py") if not path.name.startswith("__")]
    assert [room for room in rooms if room not in text] == []


def test_decisions_of_the_architecture_are_short() -> None:
    decisions = read("ARCHITECTURE.md").split("## Decisions")[1]
    for decision in re.split(r"^### ", decisions, flags=re.MULTILINE)[1:]:
        assert len([line for line in decision.splitlines()[1:] if line]) <= 8, decision.splitlines()[0]


def test_links_between_the_documents_lead_somewhere() -> None:
    for name in ("README.md", "ARCHITECTURE.md", "SECURITY.md", "config/clients/README.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", read(name)):
            assert ((REPOSITORY / name).parent / target).exists(), f"{name}: {target}"


def test_the_changelog_has_a_place_for_what_is_not_released() -> None:
    assert "## [Unreleased]" in read("CHANGELOG.md")


@pytest.mark.skipif(sys.platform == "win32", reason="make is not there")
def test_every_make_target_parses() -> None:
    done = subprocess.run(
        ["make", "-n", "help"], cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
