import subprocess
import sys
from pathlib import Path

import numpy as np

from reasoning_bank.embeddings.hashing import HashingEmbedder


def test_other_processes_compute_the_same_vector() -> None:
    """Python's own `hash` would not: it is salted per process."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from reasoning_bank.embeddings.hashing import HashingEmbedder\n"
        "print(HashingEmbedder(8).encode(['repair the parser'], 'query').tolist())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout
    assert said.strip() == str(HashingEmbedder(8).encode(["repair the parser"], "document").tolist())


def test_nearest_is_the_text_that_shares_words_then_pieces_of_words() -> None:
    texts = ["repair the parser", "repairing of parsers", "bake an apple pie"]
    vectors = HashingEmbedder().encode([*texts, "parser repair"], "document")
    scores = vectors[:3] @ vectors[3]
    assert scores[0] > scores[1] > scores[2] + 0.1


def test_texts_without_words_have_a_direction_of_their_own() -> None:
    vectors = HashingEmbedder().encode(["", "?!", "word"], "document")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert abs(vectors[0] @ vectors[2]) < 0.5


def test_megabytes_without_a_blank_are_embedded_in_linear_time() -> None:
    assert HashingEmbedder().encode(["x" * 5_000_000], "document").shape == (1, 384)
