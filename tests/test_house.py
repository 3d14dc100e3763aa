"""The house rules that no linter knows: sizes, names, what may be imported where, what the package carries."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import reasoning_bank

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "reasoning_bank"
SOURCES = [*sorted(PACKAGE.rglob("*.py")), REPOSITORY / "server.py"]
HEAVY = ("numpy", "torch", "chromadb", "onnxruntime", "matplotlib")
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))

CROSSINGS = {
    "bank.py",
    "batches.py",
    "cache/file.py",
    "cache/redis_server.py",
    "cache/stored.py",
    "compression/threaded.py",
    "concurrency/parallel.py",
    "diagnosis.py",
    "embeddings/batching.py",
    "embeddings/loading.py",
    "figures.py",
    "llm/pool.py",
    "llm/providers.py",
    "mcp/connection.py",
    "mcp/opening.py",
    "monitoring/sampling.py",
    "opening/caching.py",
    "opening/language.py",
    "opening/rooms.py",
    "storage/database.py",
    "vectors/chroma.py",
    "vectors/indexer.py",
    "vectors/verification.py",
}
"""Where async code hands work to a thread: few files, so that the border between the two colours stays visible."""

ENVIRONMENT = {
    "assets/wheels.py",  # a child process (pip) gets the user's environment
    "settings/loading.py",
}
"""Who touches the environment: the reader of settings, and whoever passes it on to a child process."""

COMES_WITH = {
    "httpx": "chromadb",  # whose errors it raises
    "mcp-types": "mcp",
    "pydantic-core": "pydantic",
    "torch": "sentence-transformers",
    "typing-extensions": "pydantic",  # named recursive types, until Python 3.12 is the oldest
}
"""Distributions that are part of a declared one: their version is its business, not ours."""


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name


def tracked(*patterns: str) -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", *patterns], cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return [path for line in done.stdout.splitlines() if (path := REPOSITORY / line).is_file()]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of_body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or function.lineno) - body[0].lineno + 1 if body else 0


def imports(path: Path) -> set[str]:
    """Names of the top-level modules a file imports, at any depth in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def declared() -> set[str]:
    listed: list[str] = [*PYPROJECT["project"]["dependencies"]]
    for extra in ("sentence-transformers", "llmlingua", "redis", "report"):
        listed += PYPROJECT["project"]["optional-dependencies"][extra]
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in listed}


def test_no_file_is_longer_than_400_lines() -> None:
    assert [relative(path) for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) > 400] == []


def test_no_function_is_longer_than_60_lines() -> None:
    long = [
        f"{relative(path)}:{function.lineno} {function.name}"
        for path in SOURCES
        for function in functions(path)
        if lines_of_body(function) > 60
    ]
    assert long == []


def test_no_module_is_a_drawer_without_a_name() -> None:
    drawer = re.compile(r"^(utils?|helpers?|common|managers?|services?|base|misc)$")
    assert [relative(path) for path in PACKAGE.rglob("*") if drawer.match(path.stem)] == []


def test_every_package_is_described_in_its_first_line() -> None:
    silent = [
        relative(path)
        for path in SOURCES
        if path.name != "__main__.py" and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_no_note_to_self_is_left() -> None:
    note = re.compile(r"#.*\b(TODO|FIXME|XXX)\b")
    assert [relative(path) for path in SOURCES if note.search(path.read_text(encoding="utf-8"))] == []


def test_threads_are_entered_in_the_named_files_only() -> None:
    crossing = {relative(path) for path in SOURCES if "to_thread" in path.read_text(encoding="utf-8")}
    assert crossing == CROSSINGS


def test_the_environment_is_read_in_the_named_files_only() -> None:
    reading = {
        relative(path) for path in SOURCES if re.search(r"os\.environ|os\.getenv", path.read_text(encoding="utf-8"))
    }
    assert reading == ENVIRONMENT


homes = cache(packages_distributions)


def distributions(module: str) -> set[str]:
    """Names of the distributions that a module belongs to, or comes with."""
    named = {home.lower().replace("_", "-") for home in homes().get(module, [module])}
    return {COMES_WITH.get(name, name) for name in named}


def test_every_import_is_a_declared_dependency() -> None:
    undeclared: dict[str, set[str]] = {}
    for path in SOURCES:
        for module in imports(path) - set(sys.stdlib_module_names) - {"reasoning_bank"}:
            if not distributions(module) & declared():
                undeclared.setdefault(module, set()).add(relative(path))
    assert undeclared == {"onnx": {"embeddings/graph.py"}}, "onnx comes with [dev]: only the graph's builder needs it"


def test_every_declared_dependency_is_imported() -> None:
    used = {name for path in SOURCES for module in imports(path) for name in distributions(module)}
    assert declared() - used == {"tzdata"}, "zoneinfo reads tzdata where the system has no time zones"


def test_every_run_time_file_is_package_data() -> None:
    patterns = [pattern.removeprefix("**/") for pattern in PYPROJECT["tool"]["setuptools"]["package-data"]["*"]]
    files = [path for path in tracked("reasoning_bank") if path.suffix != ".py"]
    assert [relative(path) for path in files if not any(path.match(pattern) for pattern in patterns)] == []


def test_the_top_level_is_what_was_agreed() -> None:
    folders = {path.relative_to(REPOSITORY).parts[0] for path in tracked() if path.parent != REPOSITORY}
    assert folders <= {"reasoning_bank", "tests", "config", ".ci"}


def test_no_path_of_a_developers_machine_is_in_the_project() -> None:
    places = {str(Path.home()), str(REPOSITORY), "/work", "/opt", "/root"}
    mine = re.compile(rf"(?<![\w.~])({'|'.join(map(re.escape, places))})/\w+")
    readable = [path for path in tracked() if path.suffix not in {".onnx", ".png"} and path != Path(__file__)]
    found = {
        path.relative_to(REPOSITORY).as_posix(): match[0]
        for path in readable
        if (match := mine.search(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_public_names_are_sorted_and_each_can_be_imported() -> None:
    assert reasoning_bank.__all__ == sorted(reasoning_bank.__all__)
    for name in reasoning_bank.__all__:
        assert getattr(reasoning_bank, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = reasoning_bank.Nothing


def test_public_names_say_the_same_to_a_type_checker() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (alias.name, node.module) for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    homes = next(
        node for node in tree.body if isinstance(node, ast.Assign) and "_HOMES" in ast.unparse(node.targets[0])
    )
    assert seen == set(ast.literal_eval(homes.value).items())
    assert {name for name, _ in seen} == set(reasoning_bank.__all__)


def modules_loaded_by(code: str) -> set[str]:
    report = f"{code}\nimport sys\nprint('LOADED', *[name for name in sys.modules if '.' not in name])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, encoding="utf-8", check=True, timeout=60)
    return set(done.stdout.split("LOADED", 1)[1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import reasoning_bank; dir(reasoning_bank); reasoning_bank.Query; reasoning_bank.Settings",
        "import reasoning_bank.cli",
        "import sys; sys.argv = ['reasoning-bank', '--help']\nfrom reasoning_bank.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass",
        "import sys; sys.argv = ['reasoning-bank', 'serve', '--help']\nfrom reasoning_bank.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass",
        "import reasoning_bank.mcp.server",
    ],
    ids=["package", "command line", "--help", "serve --help", "server"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    assert modules_loaded_by(code) & {*HEAVY, "redis", "sqlalchemy", "alembic", "tiktoken", "tokenizers"} == set()
