"""A small catalogue, and a local server that plays the hub, tiktoken's address and a package index."""

import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from reasoning_bank.assets.catalog import Asset, AssetFile, HubFolder, Wheel
from reasoning_bank.assets.install import Assets

WEIGHTS = b"weights " * 40_000
TOKENIZER = b'{"tokenizer": true}'
RANKS = b"IQ== 0\nIg== 1\n" * 500


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wheel_bytes(project: str, version: str, members: Mapping[str, bytes]) -> bytes:
    """A wheel that pip accepts."""
    info = f"{project.replace('-', '_')}-{version}.dist-info"
    files = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


MODEL_WHEEL = wheel_bytes(
    "tiny-model", "1.0", {"tiny_model/model/weights.bin": WEIGHTS, "tiny_model/model/sub/tokenizer.json": TOKENIZER}
)
RANKS_WHEEL = wheel_bytes("tiny-ranks", "2.0", {"tiny_ranks/cache/abc123": RANKS})


def tiny_catalog() -> dict[str, Asset]:
    model = Asset(
        name="tiny",
        folder="tiny",
        about="a model",
        licence="Apache-2.0",
        files=(
            AssetFile("weights.bin", sha256(WEIGHTS), len(WEIGHTS)),
            AssetFile("sub/tokenizer.json", sha256(TOKENIZER), len(TOKENIZER)),
        ),
        wheels=(Wheel("tiny-model", "1.0", sha256(MODEL_WHEEL), len(MODEL_WHEEL), "tiny_model/model/"),),
        hub=HubFolder("someone/tiny", "rev1"),
    )
    ranks = Asset(
        name="ranks",
        folder="tiktoken",
        about="ranks",
        licence="MIT",
        files=(AssetFile("ranks.tiktoken", sha256(RANKS), len(RANKS), alias="abc123"),),
        wheels=(Wheel("tiny-ranks", "2.0", sha256(RANKS_WHEEL), len(RANKS_WHEEL), "tiny_ranks/cache/"),),
        tiktoken_name="ranks.tiktoken",
    )
    return {"tiny": model, "ranks": ranks}


@dataclass
class Site:
    """What the local server has, does wrong, and was asked.

    Attributes:
        cut_after: send only so many bytes of a body, then drop the connection.
        stalls: after `cut_after` bytes keep the connection open, silent, until the test ends.
        ranges: whether it honours Range.
        requests: (path, Range header) in order.
    """

    url: str
    pages: dict[str, bytes]
    cut_after: int | None = None
    stalls: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, str | None]])


@pytest.fixture
def site() -> Iterator[Site]:
    """A server on a free loopback port with the files of the small catalogue."""
    pages = {
        "/someone/tiny/resolve/rev1/weights.bin": WEIGHTS,
        "/someone/tiny/resolve/rev1/sub/tokenizer.json": TOKENIZER,
        "/encodings/ranks.tiktoken": RANKS,
        "/simple/tiny-model/": b'<a href="/files/tiny_model-1.0-py3-none-any.whl">tiny_model-1.0-py3-none-any.whl</a>',
        "/simple/tiny-ranks/": b'<a href="/files/tiny_ranks-2.0-py3-none-any.whl">tiny_ranks-2.0-py3-none-any.whl</a>',
        "/files/tiny_model-1.0-py3-none-any.whl": MODEL_WHEEL,
        "/files/tiny_ranks-2.0-py3-none-any.whl": RANKS_WHEEL,
    }
    state = Site("", pages)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    state.ended.set()
    server.shutdown()
    server.server_close()
    thread.join()


def _handler(site: Site) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            site.requests.append((self.path, asked))
            content = site.pages.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and site.ranges else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Type", "text/html" if self.path.startswith("/simple") else "application/binary")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : start + site.cut_after] if site.cut_after else content[start:])
            if site.stalls:
                self.wfile.flush()
                site.ended.wait(30)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Tests read `site.requests` instead."""

    return Handler


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Takes the developer's package indexes away, so that nothing but the local server can answer."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    empty = tmp_path / "pip.conf"
    empty.touch()
    monkeypatch.setenv("PIP_CONFIG_FILE", str(empty))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")


MakeAssets = Callable[..., Assets]


@pytest.fixture
def make_assets(site: Site, tmp_path: Path, no_index: None) -> MakeAssets:
    """Assets of the small catalogue in a new folder."""

    def make(
        *, hub: bool = True, wheels: bool = True, allow_download: bool = True, wrong_wheel_hash: bool = False
    ) -> Assets:
        catalog = tiny_catalog()
        if not wheels:
            catalog = {name: replace(asset, wheels=()) for name, asset in catalog.items()}
        if wrong_wheel_hash:
            wheel = replace(catalog["tiny"].wheels[0], sha256="0" * 64)
            catalog["tiny"] = replace(catalog["tiny"], wheels=(wheel,))
        nowhere = "http://127.0.0.1:9"
        return Assets(
            tmp_path / "assets",
            hub_url=site.url if hub else nowhere,
            tiktoken_url=f"{site.url}/encodings" if hub else nowhere,
            allow_download=allow_download,
            catalog=catalog,
        )

    return make
