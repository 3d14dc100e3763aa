"""Which workspace a call over stdio means when it names none.

Order: argument of the call, setting, project of the host (its directory's git remote, else its name), git remote of
the working directory, `default`. Over HTTP the token decides instead (auth.py).
"""

import configparser
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT_WORKSPACE = "default"
MOST_CHARACTERS = 200
_UNUSUAL = re.compile(r"[^\w./-]+")
_REMOTE_URL = re.compile(r"^(?:[\w+.-]+://(?:[^@/]*@)?[^/]+/|(?:[^@/]+@)?[^:/]{2,}:)(?P<path>.+)$")
"""`https://host/owner/name.git`, `ssh://git@host:22/owner/name`, `git@host:owner/name.git`; never a drive letter."""


@dataclass(frozen=True, slots=True)
class ResolvedWorkspace:
    """A workspace and, in words for `doctor`, why it was chosen."""

    name: str
    why: str


def resolve_workspace(setting: str | None, *, project: Path | None, directory: Path) -> ResolvedWorkspace:
    """Returns the workspace of calls that name none.

    Args:
        setting: the configured workspace, or None.
        project: directory that the MCP host says it works in, or None.
        directory: working directory of this process.
    """
    if setting:
        return ResolvedWorkspace(setting, "the setting `workspace`")
    if project is not None:
        if remote := git_remote(project):
            return ResolvedWorkspace(remote, f"the git remote of the host's project {project}")
        return ResolvedWorkspace(
            _named_after(project), f"the host's project directory {project} (it has no git remote)"
        )
    if remote := git_remote(directory):
        return ResolvedWorkspace(remote, f"the git remote of the working directory {directory}")
    return ResolvedWorkspace(DEFAULT_WORKSPACE, "no setting, no project of the host and no git remote was found")


def git_remote(directory: Path) -> str | None:
    """Returns `owner/name` from the git remote (`origin`, else the first) of `directory` or a parent of it, or None."""
    for place in (directory, *directory.parents):
        config = _git_config(place / ".git")
        if config is not None:
            return _remote_path(config)
    return None


def _git_config(dot_git: Path) -> Path | None:
    """Returns the configuration file of a checkout, of a worktree or of a submodule, or None if this is none."""
    try:
        if dot_git.is_dir():
            return dot_git / "config"
        if not dot_git.is_file():
            return None
        link = dot_git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        git_dir = (dot_git.parent / link).resolve()
        common = git_dir / "commondir"
        if common.is_file():  # a worktree keeps its remotes in the repository it belongs to
            git_dir = (git_dir / common.read_text(encoding="utf-8").strip()).resolve()
    except (OSError, UnicodeDecodeError, ValueError):
        return None
    return git_dir / "config"


def _remote_path(config: Path) -> str | None:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return None
    remotes = [section for section in parser.sections() if section.startswith("remote ")]
    remotes.sort(key=lambda section: section != 'remote "origin"')
    for section in remotes:
        match = _REMOTE_URL.match(parser.get(section, "url", fallback=None) or "")
        if match and (name := _plain(match["path"].rstrip("/").removesuffix(".git"))):
            return name
    return None


def _named_after(directory: Path) -> str:
    """Returns the directory's name with a short digest of its path: two projects may share a name."""
    absolute = directory.expanduser().absolute()
    digest = hashlib.sha256(str(absolute).encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{_plain(absolute.name) or 'project'}-{digest}"


def _plain(name: str) -> str:
    return _UNUSUAL.sub("-", name).strip("-/.")[:MOST_CHARACTERS]
