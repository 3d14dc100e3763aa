"""What every backend promises, asked of every backend."""

from collections.abc import Callable

import numpy as np
import pytest

from reasoning_bank.embeddings.embedder import Embedder, EmbeddingIdentity
from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.embeddings.openai import OpenAIEmbedder

from .conftest import Api, GatedEmbedder

TEXTS = [
    "Fix the failing database migration by merging the two heads",
    "",
    "a",
    "naïve café 数据库迁移 🙂 نص عربي",
    "def merge_heads(revision: str) -> None: ...",
    "word " * 600,
    "two\nlines\tand \x00 a control character",
]


@pytest.fixture(params=["hashing", "gated", "openai", "onnx-fp32", "onnx-int8", "sentence-transformers"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    makers: dict[str, Callable[[], Embedder]] = {
        "hashing": HashingEmbedder,
        "gated": GatedEmbedder,
        "openai": lambda: _remote(request.getfixturevalue("api")),
        "onnx-fp32": lambda: request.getfixturevalue("minilm"),
        "onnx-int8": lambda: request.getfixturevalue("minilm_int8"),
        "sentence-transformers": lambda: request.getfixturevalue("sentence_transformer"),
    }
    made = makers[request.param]()
    made.load()
    return made


def _remote(api: Api) -> Embedder:
    return OpenAIEmbedder("remote-model", base_url=api.url)


def test_rows_are_unit_float32_in_the_order_of_the_texts(embedder: Embedder) -> None:
    vectors = embedder.encode(TEXTS, "document")
    assert vectors.shape == (len(TEXTS), embedder.identity.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(embedder.encode([text], "document")[0], vector, atol=1e-5)


def test_different_texts_have_different_vectors(embedder: Embedder) -> None:
    vectors = embedder.encode(TEXTS, "document")
    similar = vectors @ vectors.T
    assert (similar[~np.eye(len(TEXTS), dtype=bool)] < 0.95).all()


def test_no_texts_make_no_rows(embedder: Embedder) -> None:
    assert embedder.count_tokens([]) == []
    assert embedder.encode([], "query").shape == (0, embedder.identity.dim)


def test_same_words_are_nearer_than_other_words(embedder: Embedder) -> None:
    near, far = embedder.encode(["merging heads of a migration", "a recipe for apple pie"], "document")
    query = embedder.encode(["merge migration heads"], "query")[0]
    assert query @ near > query @ far


def test_token_counts_grow_with_the_text_up_to_the_window(embedder: Embedder) -> None:
    short, long, longest = embedder.count_tokens(["one two", "one two three four five", "word " * 5_000])
    assert 0 < short < long < longest <= max(embedder.identity.max_tokens, 5_000)


def test_loading_twice_and_identity_are_stable(embedder: Embedder) -> None:
    before = embedder.identity
    embedder.load()
    assert embedder.identity == before
    assert EmbeddingIdentity.from_mapping(before.as_mapping()).model_id == before.model_id
    assert embedder.limits.texts >= 1
