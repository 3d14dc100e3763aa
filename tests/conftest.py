"""What every test stands on: a clean environment, no network, no blocking of the event loop, real small parts."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

if TYPE_CHECKING:
    from reasoning_bank.embeddings.embedder import Embedder

settings.register_profile("bank", deadline=None, derandomize=True)
settings.load_profile("bank")
"""No wall clock decides a test, and a run finds what the last one found; --hypothesis-profile=default explores."""

REPOSITORY = Path(__file__).resolve().parent.parent
KEPT = {"REASONING_BANK_EVAL_DATA", "REASONING_BANK_ASSETS_DIR"}
"""Where the developer keeps evaluation data and model weights: read by fixtures, never by the code under test."""
STRANGERS = (
    "REASONING_BANK_",
    "CLAUDE",
    "OPENAI_",
    "ANTHROPIC_",
    "CHROMA_",
    "HF_",
    "OTEL_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
)
"""Prefixes of variables that would change what a test sees. PYTHONUNBUFFERED goes too: it hides stdout bugs."""


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[dict[str, str]]:
    """Removes what the developer's shell brought; yields the kept variables."""
    with pytest.MonkeyPatch.context() as patch:
        kept = {name: value for name, value in os.environ.items() if name in KEPT}
        for name in list(os.environ):
            if name.upper().startswith(STRANGERS) or name == "PYTHONUNBUFFERED":
                patch.delenv(name)
        yield kept


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """A shell that runs the tests in the background has SIGINT ignored, and the processes tests start inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def own_directories(clean_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keeps each test, and every process it starts, away from the developer's bank, configuration and the network."""
    monkeypatch.setenv("REASONING_BANK_DATA_DIR", str(tmp_path / "bank"))
    monkeypatch.setenv("REASONING_BANK_ASSETS__ALLOW_DOWNLOAD", "false")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONWARNDEFAULTENCODING", "1")
    if assets := clean_environment.get("REASONING_BANK_ASSETS_DIR"):
        monkeypatch.setenv("REASONING_BANK_ASSETS_DIR", assets)


@pytest.fixture(scope="session", autouse=True)
def no_blocking() -> Iterator[BlockBuster]:
    """Fails a test whose coroutine in our package blocks the event loop.

    One activation per session: patching about a hundred functions for each of many hundred tests would be slower
    than the tests. An exemption is added here, with its reason.
    """
    with blockbuster_ctx("reasoning_bank") as blockbuster:
        for function in ("io.TextIOWrapper.write", "io.BufferedWriter.write"):
            # A log line to stderr, from the standard library's handlers; stdout belongs to the protocol.
            blockbuster.functions[function].can_block_in("logging/__init__.py", "emit")
        # Coverage takes its own lock where a line is first seen.
        blockbuster.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
        yield blockbuster


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A place for a bank that does not exist yet."""
    return tmp_path / "bank"


@pytest.fixture
def now() -> Callable[[], datetime]:
    """A clock that moves one second with each look, so that order and time can be asserted exactly."""
    ticks = iter(range(1_000_000))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return lambda: start + timedelta(seconds=next(ticks))


@pytest.fixture(scope="session")
def assets_dir(clean_environment: dict[str, str]) -> Path:
    """Where `make install` puts model weights and tokenizer ranks; read only."""
    import platformdirs

    named = clean_environment.get("REASONING_BANK_ASSETS_DIR")
    return Path(named) if named else platformdirs.user_cache_path("reasoning-bank", appauthor=False) / "assets"


@pytest.fixture(scope="session")
def eval_data(clean_environment: dict[str, str]) -> Path:
    """The evaluation data; tests that need it are skipped where it is absent."""
    root = Path(clean_environment.get("REASONING_BANK_EVAL_DATA", REPOSITORY.parent / "shared" / "data" / "dev"))
    if not root.is_dir():
        pytest.skip("no evaluation data (set REASONING_BANK_EVAL_DATA)")
    return root


@pytest.fixture(scope="session")
def hashing() -> "Embedder":
    """An embedder without a model that discriminates: for everything that is not about the model itself."""
    from reasoning_bank.embeddings.hashing import HashingEmbedder

    return HashingEmbedder()


@pytest.fixture(scope="session")
def minilm(assets_dir: Path) -> "Embedder":
    """The default model, loaded once; skipped where its weights were never installed."""
    from reasoning_bank.assets import Assets
    from reasoning_bank.embeddings.onnx import OnnxEmbedder
    from reasoning_bank.errors import AssetError, ModelUnavailableError

    try:
        embedder = OnnxEmbedder(assets=Assets(assets_dir, allow_download=False))
        embedder.load()
    except (AssetError, ModelUnavailableError) as error:
        pytest.skip(f"the model's weights are not installed (make install): {error}")
    return embedder
