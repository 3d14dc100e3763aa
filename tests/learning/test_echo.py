"""What was just served is not learned again, unless somebody found it wrong."""

from reasoning_bank.learning.recall import RecentlyServed
from reasoning_bank.records import MemoryItem


def test_what_says_the_opposite_of_a_served_memory_is_no_echo_of_it() -> None:
    served = RecentlyServed()
    served.note(
        "w", [("m1", MemoryItem("", content="Warm up the cache of the shop before the first request comes in."))]
    )
    again = MemoryItem("", content="So: warm up the cache of the shop before the first request comes in.")
    opposite = MemoryItem("", content="Never warm up the cache of the shop before the first request comes in.")
    assert served.echoed("w", again) == "m1"
    assert served.echoed("w", opposite) is None
