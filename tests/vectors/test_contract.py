"""What every vector index promises: exact, Chroma in this process, on a server, and by the arguments of the cloud."""

import numpy as np

from reasoning_bank.vectors.exact import VectorMatrix
from reasoning_bank.vectors.index import VectorIndex, ids_digest

from .conftest import DIM, MODEL, named, unit


async def test_the_nearest_come_first_with_their_cosine(index: VectorIndex) -> None:
    vectors, query = unit(1, 120), unit(2, 1)[0]
    await index.apply("w", named(vectors * 0.7), [], seq=120)
    found = await index.nearest("w", query, 10)
    assert found is not None
    matrix = VectorMatrix(DIM)
    matrix.upsert([each for each, _ in named(vectors)], vectors)
    expected = matrix.view.nearest(query, 10)
    assert [hit.id for hit in found.hits] == [hit.id for hit in expected]
    np.testing.assert_allclose([hit.score for hit in found.hits], [hit.score for hit in expected], atol=1e-4)
    assert found.applied_seq == 120
    assert found.model_id == MODEL


async def test_every_vector_finds_itself(index: VectorIndex) -> None:
    vectors = unit(1, 60)
    await index.apply("w", named(vectors), [], seq=60)
    for name, vector in named(vectors)[::7]:
        found = await index.nearest("w", vector, 1)
        assert found is not None
        assert [hit.id for hit in found.hits] == [name]


async def test_state_tells_what_is_held(index: VectorIndex) -> None:
    assert (await index.state("w")).applied_seq == 0
    await index.apply("w", named(unit(1, 3)), [], seq=7)
    state = await index.state("w")
    assert (state.status, state.applied_seq, state.count, state.model_id) == ("ready", 7, 3, MODEL)
    assert state.digest == ids_digest(["m0", "m1", "m2"])


async def test_deleted_vectors_are_never_found_again(index: VectorIndex) -> None:
    vectors = unit(1, 10)
    await index.apply("w", named(vectors), [], seq=10)
    await index.apply("w", [], ["m3", "never stored"], seq=11)
    found = await index.nearest("w", vectors[3], 10)
    assert found is not None
    assert "m3" not in [hit.id for hit in found.hits]
    state = await index.state("w")
    assert (state.count, state.applied_seq) == (9, 11)
    assert state.digest == ids_digest([f"m{each}" for each in range(10) if each != 3])


async def test_an_upsert_replaces_the_vector(index: VectorIndex) -> None:
    before, after = unit(1, 5), unit(2, 5)
    await index.apply("w", named(before), [], seq=5)
    await index.apply("w", named(after), [], seq=10)
    found = await index.nearest("w", after[2], 1)
    assert found is not None
    assert found.hits[0].id == "m2"
    assert found.hits[0].score > 0.999
    assert (await index.state("w")).count == 5


async def test_the_same_batch_again_changes_nothing(index: VectorIndex) -> None:
    batch = named(unit(1, 5))
    await index.apply("w", batch, ["gone"], seq=5)
    first = await index.state("w")
    await index.apply("w", batch, ["gone"], seq=5)
    await index.apply("w", batch[:2], [], seq=2)
    assert await index.state("w") == first


async def test_the_last_of_two_vectors_of_one_id_counts(index: VectorIndex) -> None:
    one, two = unit(1, 2)
    await index.apply("w", [("a", one), ("a", two)], [], seq=2)
    found = await index.nearest("w", two, 1)
    assert found is not None
    assert found.hits[0].score > 0.999
    assert (await index.state("w")).count == 1


async def test_workspaces_never_meet(index: VectorIndex) -> None:
    strange = 'a/b "c" é ' + "x" * 200
    vectors = unit(1, 2)
    await index.apply("w", [("a", vectors[0])], [], seq=1)
    await index.apply(strange, [("b", vectors[1])], [], seq=2)
    for workspace, own, seq in (("w", "a", 1), (strange, "b", 2)):
        found = await index.nearest(workspace, vectors[0], 5)
        assert found is not None
        assert [hit.id for hit in found.hits] == [own]
        assert found.applied_seq == seq


async def test_a_limit_beyond_the_bank_returns_all(index: VectorIndex) -> None:
    await index.apply("w", named(unit(1, 4)), [], seq=4)
    found = await index.nearest("w", unit(2, 1)[0], 1000)
    assert found is not None
    assert len(found.hits) == 4


async def test_a_vector_without_direction_is_harmless(index: VectorIndex) -> None:
    zero = np.zeros(DIM, np.float32)
    vectors = unit(1, 3)
    await index.apply("w", [*named(vectors), ("zero", zero)], [], seq=4)
    found = await index.nearest("w", vectors[1], 4)
    assert found is not None
    assert found.hits[0].id == "m1"
    assert await index.nearest("w", zero, 2) is not None


async def test_closing_twice_is_fine(index: VectorIndex) -> None:
    await index.apply("w", named(unit(1, 2)), [], seq=2)
    await index.close()
    await index.close()
