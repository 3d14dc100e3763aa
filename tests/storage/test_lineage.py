"""Sources, ancestors, successors and contradictions, also where families are circular or endless."""

from reasoning_bank.records import Genealogy
from reasoning_bank.storage import Database, changes, history, lineage, memories, servings, standing

from .samples import memory, moment, stored


def family(database: Database, id_: str) -> Genealogy:
    found = database.read_now(lambda conn: lineage.genealogy(conn, "w", id_))
    assert found is not None
    return found


def test_ancestors_are_named_once_nearest_first_and_the_stage_is_the_longest_way(database: Database) -> None:
    stored(
        database, memory("a"), memory("b", parents=("a",)), memory("c", parents=("b", "a")), memory("d", parents=("c",))
    )
    assert (family(database, "a").ancestry, family(database, "a").stage) == ((), 0)
    assert (family(database, "d").ancestry, family(database, "d").stage) == (("c", "b", "a"), 3)


def test_a_circle_of_parents_ends(database: Database) -> None:
    stored(database, memory("a", parents=("c",)), memory("b", parents=("a",)), memory("c", parents=("b",)))
    assert family(database, "c").ancestry == ("b", "a")
    assert family(database, "c").stage == 2


def test_an_endless_family_is_looked_back_at_as_far_as_is_bounded(database: Database) -> None:
    chain = [memory(f"m{place}", parents=(f"m{place - 1}",)) for place in range(lineage.MOST_ANCESTORS + 100)]
    stored(database, *chain)
    assert len(family(database, chain[-1].id).ancestry) == lineage.MOST_ANCESTORS


def test_parents_the_bank_never_had_are_still_named(database: Database) -> None:
    stored(database, memory("a", parents=("elsewhere",)))
    assert (family(database, "a").ancestry, family(database, "a").stage) == (("elsewhere",), 1)


def test_what_replaced_an_older_memory_comes_of_it(database: Database) -> None:
    stored(database, memory("old"), memory("new"))
    database.write_now(lambda conn: memories.supersede(conn, "w", ["old"], "new", moment(3)))
    assert family(database, "new").ancestry == ("old",)
    assert family(database, "old").ancestry == ()


def test_what_was_replaced_held_until_then_or_until_it_had_ended(database: Database) -> None:
    stored(database, memory("a"), memory("b", valid_to=moment(1)), memory("c"), memory("new"))
    database.write_now(lambda conn: memories.supersede(conn, "w", ["a", "b"], "new", moment(3)))
    database.write_now(lambda conn: memories.supersede(conn, "w", ["c"], "new", moment(3), until=moment(2)))
    found = database.read_now(lambda conn: memories.by_ids(conn, "w", ["a", "b", "c"]))
    assert {id_: each.item.valid_to for id_, each in found.items()} == {
        "a": moment(3),
        "b": moment(1),
        "c": moment(2),
    }


def test_sources_begin_with_the_trace_of_the_words_and_are_named_once(database: Database) -> None:
    stored(database, memory("a"))
    for seconds, ids in ((1, ["t2", "t"]), (2, ["t3", "t2"])):
        database.write_now(lambda conn, s=seconds, i=ids: lineage.add_sources(conn, "w", "a", i, moment(s)))
    database.write_now(lambda conn: lineage.add_sources(conn, "other", "a", ["t9"], moment()))
    assert family(database, "a").sources == ("t", "t2", "t3")


def test_contradictions_are_linked_once_in_both_directions_and_told_to_followers(database: Database) -> None:
    stored(database, memory("a"), memory("b"), memory("far", "x"))
    seq = database.read_now(lambda conn: changes.last_seq(conn, "w"))

    def link(one: str, other: str) -> bool:
        return database.write_now(lambda conn: lineage.contradict(conn, "w", one, other, reason="why", now=moment()))

    assert (link("b", "a"), link("a", "b"), link("a", "far"), link("a", "a")) == (True, False, False, False)
    assert family(database, "a").contradicts == ("b",)
    assert database.read_now(lambda conn: lineage.contradictions(conn, "w", ["a", "b"])) == {
        "a": [("b", "why")],
        "b": [("a", "why")],
    }
    assert {each.memory_id for each in database.read_now(lambda conn: changes.since(conn, "w", seq))} == {"a", "b"}
    assert database.read_now(lambda conn: memories.by_ids(conn, "w", ["a"]))["a"].contradicts == ("b",)


def test_a_memory_whose_opponent_is_gone_is_looked_at_again(database: Database) -> None:
    stored(database, memory("a"), memory("b"))
    database.write_now(lambda conn: lineage.contradict(conn, "w", "a", "b", reason="why", now=moment()))
    seq = database.read_now(lambda conn: changes.last_seq(conn, "w"))
    database.write_now(lambda conn: memories.soft_delete(conn, "w", ["b"], moment()))
    assert {each.memory_id for each in database.read_now(lambda conn: changes.since(conn, "w", seq))} == {"a", "b"}
    assert database.read_now(lambda conn: memories.by_ids(conn, "w", ["a"]))["a"].contradicts == ()
    assert family(database, "a").contradicts == ("b",)


def test_successors_follow_merges_and_not_what_overruled(database: Database) -> None:
    stored(database, memory("a"), memory("b", parents=("a",)), memory("c", parents=("b",)), memory("d"))
    for old, new in (("a", "b"), ("b", "c"), ("c", "d")):
        database.write_now(lambda conn, o=old, n=new: memories.supersede(conn, "w", [o], n, moment()))

    found = database.read_now(lambda conn: lineage.successors(conn, "w", ["a", "c", "d", "no"]))
    assert found == {"a": "c", "c": "c", "d": "d"}


def test_a_circle_of_successors_ends(database: Database) -> None:
    stored(database, memory("a", parents=("b",)), memory("b", parents=("a",)))
    for old, new in (("a", "b"), ("b", "a")):
        database.write_now(lambda conn, o=old, n=new: memories.supersede(conn, "w", [o], n, moment()))
    found = database.read_now(lambda conn: lineage.successors(conn, "w", ["a"]))
    assert found["a"] in {"a", "b"}


def test_every_change_of_trust_is_kept_with_its_reason(database: Database) -> None:
    stored(database, memory("a", trust="normal"))

    def trust(level: str, reason: str) -> bool:
        return database.write_now(lambda conn: standing.set_trust(conn, "w", "a", level, reason=reason, now=moment(5)))  # pyright: ignore[reportArgumentType]

    assert [trust("quarantined", "hidden text"), trust("quarantined", "again"), trust("normal", "looked at")] == [
        True,
        False,
        True,
    ]
    entries = database.read_now(lambda conn: history.of_memory(conn, "w", "a"))
    assert [(each.before, each.after, each.reason) for each in entries] == [
        ("normal", "quarantined", "hidden text"),
        ("quarantined", "normal", "looked at"),
    ]
    assert database.read_now(lambda conn: standing.before_quarantine(conn, "w", "a")) == "normal"


def test_servings_are_kept_once_and_for_a_while(database: Database) -> None:
    late = moment() + servings.KEPT * 2
    for at, task in ((moment(), "one"), (moment(1), "one"), (moment(2), "two")):
        database.write_now(lambda conn, t=task, a=at: servings.note(conn, {("w", "a", servings.task_hash(t)): a}))
    assert database.read_now(lambda conn: servings.latest_task(conn, "w", ["a", "b"])) == {
        "a": servings.task_hash("two")
    }
    assert servings.task_hash(" One\n") == servings.task_hash("one")
    database.write_now(lambda conn: servings.note(conn, {("w", "b", "f00"): late}))
    assert database.read_now(lambda conn: servings.latest_task(conn, "w", ["a"])) == {}


def test_an_unknown_memory_has_no_family(database: Database) -> None:
    stored(database, memory("a"))
    assert database.read_now(lambda conn: lineage.genealogy(conn, "w", "b")) is None
