"""The default model: our graph gives what sentence-transformers gives."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from reasoning_bank.assets import MINILM, Assets
from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.embeddings.graph import build, packaged_graph
from reasoning_bank.embeddings.onnx import OnnxEmbedder
from reasoning_bank.embeddings.weights import Precision
from reasoning_bank.errors import ModelUnavailableError

PAIRS = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
TEXTS = [
    *PAIRS,
    "",
    "x",
    "naïve café 数据库迁移 🙂",
    "  blanks \n\n and\ttabs  ",
    "def merge_heads(revision: str) -> None:\n    raise NotImplementedError",
    *[f"step {n}: " + "run the tests, read the traceback and repair the import " * n for n in (1, 3, 7, 20, 60)],
]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_packaged_graph_is_what_the_script_builds(precision: Precision) -> None:
    pytest.importorskip("onnx")
    assert build(precision) == packaged_graph(precision)
    assert len(packaged_graph(precision)) < 25_000, "the graph holds no weights"


def test_published_similarities_are_reproduced(minilm: Embedder) -> None:
    """The model card's quickstart."""
    vectors = minilm.encode(PAIRS, "document")
    np.testing.assert_allclose(
        [vectors[0] @ vectors[1], vectors[0] @ vectors[2], vectors[1] @ vectors[2]], [0.6660, 0.1046, 0.1411], atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4, len(TEXTS)])
def test_graph_equals_sentence_transformers(minilm: Embedder, sentence_transformer: Embedder, batch: int) -> None:
    ours = np.vstack([minilm.encode(TEXTS[at : at + batch], "document") for at in range(0, len(TEXTS), batch)])
    theirs = sentence_transformer.encode(TEXTS, "document")
    assert np.abs(ours - theirs).max() < 1e-5
    assert sentence_transformer.identity == minilm.identity
    assert sentence_transformer.count_tokens(TEXTS) == minilm.count_tokens(TEXTS)


def test_fp32_vector_does_not_depend_on_its_batch(minilm: Embedder) -> None:
    together = minilm.encode(TEXTS, "document")
    alone = np.vstack([minilm.encode([text], "document") for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-6


def test_int8_vector_is_the_same_in_any_company_and_near_fp32(minilm: Embedder, minilm_int8: Embedder) -> None:
    together = minilm_int8.encode(TEXTS, "document")
    alone = np.vstack([minilm_int8.encode([text], "document") for text in TEXTS])
    assert np.array_equal(together, alone)
    assert (together * minilm.encode(TEXTS, "document")).sum(axis=1).min() > 0.96


def test_window_is_256_tokens(minilm: Embedder) -> None:
    """The tokenizer's own file says 128, and padding to it."""
    words = "alpha beta gamma delta " * 100
    first = " ".join(words.split()[:254])
    assert minilm.count_tokens([words, first, "alpha"]) == [256, 256, 3]
    np.testing.assert_allclose(minilm.encode([words], "document"), minilm.encode([first], "document"), atol=1e-6)


def test_missing_weights_say_what_to_do(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(assets=Assets(tmp_path / "none", allow_download=False))
    with pytest.raises(ModelUnavailableError, match="reasoning-bank assets install"):
        embedder.load()
    with pytest.raises(ModelUnavailableError, match="not loaded"):
        embedder.encode(["text"], "query")


def test_weights_that_are_damaged_behind_our_back_are_an_error_and_not_a_crash(
    minilm: Embedder, assets_dir: Path, tmp_path: Path
) -> None:
    """`minilm` only to skip where the weights are absent."""
    copy = Path(shutil.copytree(assets_dir / MINILM, tmp_path / MINILM))
    notes = tmp_path / "verified.json"
    shutil.copy(assets_dir / "verified.json", notes)
    weights = copy / "model.safetensors"
    assert Assets(tmp_path).path(MINILM) is not None, "hashed, and noted"
    before = weights.stat()
    with weights.open("r+b") as file:
        file.write(b"\xff" * 4_096)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ModelUnavailableError, match="could not be loaded"):
        OnnxEmbedder(assets=Assets(tmp_path)).load()
