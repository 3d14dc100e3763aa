"""Any server that speaks OpenAI's `/v1/embeddings`: the cloud's, or Ollama, vLLM, llama.cpp and others at home."""

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import NoReturn

import httpx2
import numpy as np
from pydantic import BaseModel, ValidationError

from reasoning_bank.embeddings.embedder import BatchLimits, EmbeddingIdentity, Kind, Vectors, unit_rows
from reasoning_bank.errors import ModelUnavailableError, UpstreamError
from reasoning_bank.upstream import reason_of, retry_after_s

_NORMAL_MAX_TOKENS = 8_191
# Conservative: no tokenizer of these models needs more than one token per three bytes of ordinary text. A text the
# server calls too long would fail for ever.
_BYTES_PER_TOKEN = 3
_CONNECTIONS = 4
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
_OUTAGE_S = 15.0
_LARGEST_ANSWER = 64 << 20
"""Bytes; 256 vectors of 3,072 numbers as JSON take a quarter of it."""
_LONGEST_ANSWER_S = 120.0
_LONGEST_WAIT_S = 300.0
_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}


class _Row(BaseModel):
    index: int
    embedding: list[float]


class _Answer(BaseModel):
    data: list[_Row]


class OpenAIEmbedder:
    """Embeddings from a remote model; nothing is retried here, because whoever asks already queues and retries.

    Args:
        model: the model's name at the server.
        base_url: the API's root, such as `https://api.openai.com/v1`.
        api_key: sent as a bearer token; never logged.
        dimensions: ask for shorter vectors, where the model can do that; None is its own length.
        max_tokens: what the model reads of a text; more is cut before it is sent.
        timeout_s: longest wait for the server to accept, and between two pieces of its answer.
        clean: what every text passes before it is sent.
        trust_env: go through the proxies that the environment names.
    """

    def __init__(  # noqa: PLR0913 -- plain keywords instead of Settings
        self,
        model: str,
        *,
        base_url: str,
        api_key: str | None = None,
        dimensions: int | None = None,
        max_tokens: int = _NORMAL_MAX_TOKENS,
        timeout_s: float = 30.0,
        clean: Callable[[str], str] = str,
        trust_env: bool = False,
    ) -> None:
        self.limits = BatchLimits(texts=256, tokens=100_000, alone_above_tokens=100_000)
        self._model = model
        self._dimensions = dimensions
        self._max_tokens = max_tokens
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._timeout_s = timeout_s
        self._trust_env = trust_env
        self._api_key = api_key
        self._clean = clean
        self._identity: EmbeddingIdentity | None = None

    @property
    def identity(self) -> EmbeddingIdentity:
        """What its vectors can be compared with; the server says how long they are.

        Raises:
            ModelUnavailableError: before `load`.
        """
        if self._identity is None:
            raise ModelUnavailableError(f"the embedding server was not asked yet about {self._model!r}")
        return self._identity

    def load(self) -> None:
        """Asks for one vector, to see that the server knows the key and the model.

        Raises:
            ModelUnavailableError: it does not, or does not answer.
        """
        if self._identity is not None:
            return
        try:
            dim = self._ask(["dimension"]).shape[1]
        except UpstreamError as error:
            raise ModelUnavailableError(str(error)) from error
        self._identity = EmbeddingIdentity(self._model, dim, max_tokens=self._max_tokens, pooling="remote")

    def encode(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """Returns (n, dim) float32 unit rows.

        Raises:
            ModelUnavailableError: not loaded, or the server refuses the key or the model.
            UpstreamError: it did not answer, or answered what cannot be used.
        """
        if not texts:
            return np.empty((0, self.identity.dim), np.float32)
        vectors = self._ask([self._cut(text) for text in texts])
        if vectors.shape[1] != self.identity.dim:
            raise UpstreamError(f"{self._model!r} answered {vectors.shape[1]} numbers, before {self.identity.dim}")
        return unit_rows(vectors)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Returns an estimate, a third of the bytes: the tokenizer is the server's."""
        return [min(self._max_tokens, 1 + len(text.encode()) // _BYTES_PER_TOKEN) for text in texts]

    @cached_property
    def _client(self) -> httpx2.Client:
        # Made in the thread that loads: reading the certificates takes some 20 ms, too long for the event loop.
        return httpx2.Client(
            headers={"Authorization": f"Bearer {self._api_key}"} if self._api_key else {},
            timeout=self._timeout_s,
            limits=httpx2.Limits(max_connections=_CONNECTIONS),
            trust_env=self._trust_env,
        )

    def _cut(self, text: str) -> str:
        most = self._max_tokens * _BYTES_PER_TOKEN
        # Empty input is an error at some servers.
        return self._clean(text).encode()[:most].decode("utf-8", "ignore") or " "

    def _ask(self, texts: Sequence[str]) -> Vectors:
        body: dict[str, object] = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        try:
            with self._client.stream("POST", self._url, json=body) as response:
                content = _read(response)
        except httpx2.HTTPError as error:
            said = f"no answer from the embedding server: {error or type(error).__name__}"
            raise UpstreamError(said, retry_after_s=_OUTAGE_S) from error
        if response.status_code != HTTPStatus.OK:
            self._refuse(response, content)
        return _vectors(content, len(texts))

    def _refuse(self, response: httpx2.Response, content: bytes) -> NoReturn:
        status = response.status_code
        said = f"the embedding server answered HTTP {status}: {reason_of(content, key=self._api_key)}"
        if status in _REFUSED:
            where = "embeddings.api_key, embeddings.base_url"
            raise ModelUnavailableError(f"{said} (check {where} and the model {self._model!r})")
        # Too many requests or a server in trouble passes; any other refusal is about these texts and would come again.
        if not (status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR):
            raise UpstreamError(said, status=status)
        wait_s = retry_after_s(response.headers, wall=time.time())
        wait_s = _OUTAGE_S if wait_s is None else min(wait_s, _LONGEST_WAIT_S)
        raise UpstreamError(said, status=status, retry_after_s=wait_s)


def _read(response: httpx2.Response) -> bytes:
    """The decoded body. The client's own timeout is for each piece, and it has no bound of size."""
    pieces, size, deadline = list[bytes](), 0, time.monotonic() + _LONGEST_ANSWER_S
    for piece in response.iter_bytes():
        size += len(piece)
        if size > _LARGEST_ANSWER or time.monotonic() > deadline:
            raise UpstreamError("the embedding server's answer does not end", retry_after_s=_OUTAGE_S)
        pieces.append(piece)
    return b"".join(pieces)


def _vectors(content: bytes, expected: int) -> Vectors:
    try:
        rows = sorted(_Answer.model_validate_json(content).data, key=lambda row: row.index)
        vectors = np.array([row.embedding for row in rows], np.float32)
    except (ValidationError, ValueError) as error:
        raise UpstreamError("the embedding server's answer is not in OpenAI's format") from error
    usable = [row.index for row in rows] == list(range(expected)) and vectors.ndim == 2
    if not (usable and np.isfinite(vectors).all() and np.linalg.norm(vectors, axis=1).all()):
        raise UpstreamError("the embedding server's answer lacks vectors, or has some that are no directions")
    return vectors
