"""Which workspace a call over stdio means."""

from pathlib import Path

import pytest

from reasoning_bank.mcp.workspace import git_remote, resolve_workspace


def checkout(directory: Path, url: str, *, remote: str = "origin") -> Path:
    (directory / ".git").mkdir(parents=True)
    (directory / ".git" / "config").write_text(
        f'[core]\n\tbare = false\n[remote "{remote}"]\n\turl = {url}\n\tfetch = +refs/heads/*\n', encoding="utf-8"
    )
    return directory


def test_a_setting_wins_over_everything(tmp_path: Path) -> None:
    project = checkout(tmp_path / "a", "https://github.com/acme/app.git")
    assert resolve_workspace("mine", project=project, directory=project).name == "mine"


def test_the_hosts_project_wins_over_the_working_directory(tmp_path: Path) -> None:
    project = checkout(tmp_path / "a", "https://github.com/acme/app.git")
    directory = checkout(tmp_path / "b", "https://github.com/acme/other.git")
    assert resolve_workspace(None, project=project, directory=directory).name == "acme/app"
    assert resolve_workspace(None, project=None, directory=directory).name == "acme/other"


def test_a_project_without_a_remote_is_named_after_its_directory(tmp_path: Path) -> None:
    first, second = tmp_path / "x" / "my app", tmp_path / "y" / "my app"
    names = [resolve_workspace(None, project=project, directory=tmp_path).name for project in (first, second)]
    assert all(name.startswith("my-app-") for name in names)
    assert names[0] != names[1]


def test_nothing_known_is_the_default_and_says_why(tmp_path: Path) -> None:
    found = resolve_workspace(None, project=None, directory=tmp_path)
    assert found.name == "default"
    assert "no git remote" in found.why


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/acme/app.git", "acme/app"),
        ("https://user:secret@github.com/acme/app", "acme/app"),
        ("git@github.com:acme/app.git", "acme/app"),
        ("ssh://git@example.org:2222/acme/team/app.git/", "acme/team/app"),
        ("https://example.org/a b/ü.git", "a-b/ü"),
        ("/srv/git/app.git", None),
        ("C:\\code\\app", None),
        ("", None),
    ],
)
def test_the_remote_becomes_a_name_without_host_user_or_secret(tmp_path: Path, url: str, name: str | None) -> None:
    assert git_remote(checkout(tmp_path, url)) == name


def test_a_subdirectory_belongs_to_its_checkout(tmp_path: Path) -> None:
    checkout(tmp_path, "https://github.com/acme/app.git")
    (tmp_path / "src" / "deep").mkdir(parents=True)
    assert git_remote(tmp_path / "src" / "deep") == "acme/app"


def test_another_remote_serves_when_there_is_no_origin(tmp_path: Path) -> None:
    assert git_remote(checkout(tmp_path, "https://github.com/acme/app.git", remote="upstream")) == "acme/app"


def test_a_worktree_has_the_remote_of_its_repository(tmp_path: Path) -> None:
    repository = checkout(tmp_path / "main", "https://github.com/acme/app.git")
    private = repository / ".git" / "worktrees" / "w"
    private.mkdir(parents=True)
    (private / "commondir").write_text("../..\n", encoding="utf-8")
    worktree = tmp_path / "w"
    worktree.mkdir()
    (worktree / ".git").write_text(f"gitdir: {private}\n", encoding="utf-8")
    assert git_remote(worktree) == "acme/app"


def test_a_damaged_configuration_is_no_remote(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"\xff\xfe[[")
    assert git_remote(tmp_path) is None
