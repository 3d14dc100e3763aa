from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reasoning_bank.embeddings import openai
from reasoning_bank.embeddings.openai import OpenAIEmbedder
from reasoning_bank.errors import ModelUnavailableError, UpstreamError

from .conftest import Api


def loaded(api: Api, **options: object) -> OpenAIEmbedder:
    embedder = OpenAIEmbedder("some/model", base_url=api.url, **options)  # pyright: ignore[reportArgumentType]
    embedder.load()
    return embedder


def test_request_is_openais_and_carries_the_key(api: Api) -> None:
    embedder = loaded(api, api_key="sk-secret", dimensions=7)
    embedder.encode(["one", "two"], "document")
    assert api.requests[-1] == {
        "model": "some/model",
        "input": ["one", "two"],
        "encoding_format": "float",
        "dimensions": 7,
    }
    assert api.keys[-1] == "Bearer sk-secret"
    assert embedder.identity.dim == 7
    assert "sk-secret" not in repr(embedder.identity)


def test_rows_are_put_in_order_and_normalised(api: Api) -> None:
    """The server answers in reverse order with vectors of length 3."""
    embedder = loaded(api)
    texts = ["alpha", "beta", "gamma"]
    vectors = embedder.encode(texts, "document")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors[2], embedder.encode(["gamma"], "document")[0], atol=1e-6)


def test_texts_beyond_the_window_are_cut_before_they_are_sent(api: Api) -> None:
    embedder = loaded(api, max_tokens=10)
    embedder.encode(["é" * 1_000, ""], "document")
    assert [len(text.encode()) for text in api.requests[-1]["input"]] == [30, 1]
    assert embedder.count_tokens(["é" * 1_000, "abc"]) == [10, 2]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refusal_is_a_matter_of_configuration(api: Api, status: int) -> None:
    api.status = status
    with pytest.raises(ModelUnavailableError, match=rf"HTTP {status}: .*check embeddings.api_key"):
        loaded(api)


def test_server_that_is_busy_says_when_to_come_back(api: Api) -> None:
    embedder = loaded(api)
    api.status, api.headers = 429, {"Retry-After": "7"}
    with pytest.raises(UpstreamError) as caught:
        embedder.encode(["text"], "document")
    assert caught.value.retry_after_s == 7


def test_server_that_is_not_there_makes_the_model_unavailable() -> None:
    embedder = OpenAIEmbedder("m", base_url="http://127.0.0.1:9/v1", timeout_s=1)
    with pytest.raises(ModelUnavailableError, match="no answer from the embedding server"):
        embedder.load()
    with pytest.raises(ModelUnavailableError, match="not asked yet"):
        _ = embedder.identity


def test_proxies_of_the_environment_are_used_only_when_asked(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert loaded(api).identity.dim == 12
    with pytest.raises(ModelUnavailableError, match="no answer from the embedding server"):
        loaded(api, trust_env=True)


Answer = dict[str, Any]
Spoil = Callable[[Answer], object]
SPOILS: dict[str, Spoil] = {
    "no data": lambda answer: answer.pop("data"),
    "a row less": lambda answer: answer["data"].pop(),
    "a zero vector": lambda answer: answer["data"][0].update(embedding=[0.0] * 12),
    "another length": lambda answer: answer["data"][0].update(embedding=[1.0]),
    "not a number": lambda answer: answer["data"][0].update(embedding=[float("nan")] * 12),
    "a wrong index": lambda answer: answer["data"][0].update(index=5),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_unusable_answers_are_upstream_errors(api: Api, spoil: Spoil) -> None:
    embedder = loaded(api)
    api.spoil = spoil
    with pytest.raises(UpstreamError, match="embedding server's answer"):
        embedder.encode(["one", "two"], "document")


@pytest.mark.parametrize("bound", ["_LARGEST_ANSWER", "_LONGEST_ANSWER_S"])
def test_answer_that_does_not_end_is_left(api: Api, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    embedder = loaded(api)
    monkeypatch.setattr(openai, bound, 0)
    with pytest.raises(UpstreamError, match="does not end") as caught:
        embedder.encode(["text"], "document")
    assert caught.value.retry_after_s == 15


def test_server_that_changes_its_dimension_is_refused(api: Api) -> None:
    embedder = loaded(api)
    api.dim = 5
    with pytest.raises(UpstreamError, match="answered 5 numbers, before 12"):
        embedder.encode(["text"], "document")
