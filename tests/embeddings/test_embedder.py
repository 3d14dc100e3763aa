import re
from dataclasses import fields, replace

import pytest

from reasoning_bank.embeddings.embedder import EmbeddingIdentity
from reasoning_bank.embeddings.onnx import minilm_identity

IDENTITY = EmbeddingIdentity("org/some model", 8, max_tokens=16, pooling="mean", weights_sha256="ab")


def test_model_id_is_a_name_for_files_and_collections() -> None:
    assert re.fullmatch(r"org-some-model\.fp32\.[0-9a-f]{8}", IDENTITY.model_id)
    assert re.fullmatch(r"model\.fp32\.[0-9a-f]{8}", replace(IDENTITY, name="模型").model_id)


@pytest.mark.parametrize("name", [field.name for field in fields(EmbeddingIdentity)])
def test_model_id_differs_when_anything_does(name: str) -> None:
    value = getattr(IDENTITY, name)
    changed = replace(IDENTITY, **{name: value + 1 if isinstance(value, int) else value + "x"})
    assert changed.model_id != IDENTITY.model_id


def test_precisions_are_different_models() -> None:
    assert minilm_identity("fp32").model_id != minilm_identity("int8").model_id


def test_identity_survives_the_bank() -> None:
    assert EmbeddingIdentity.from_mapping(IDENTITY.as_mapping()) == IDENTITY


def test_identity_of_a_newer_program_is_refused() -> None:
    with pytest.raises(ValueError, match="not an embedding identity"):
        EmbeddingIdentity.from_mapping({**IDENTITY.as_mapping(), "matryoshka": True})
