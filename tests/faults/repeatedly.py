"""A process that works on a bank until it is killed, again and again."""

import random
import subprocess
import time
from collections.abc import Callable


def acknowledged_until_killed(
    start: Callable[[int], subprocess.Popen[str]], *, kills: int, seed: int, within_s: float
) -> list[str]:
    """Start a process `kills` times, kill each at a random moment, and return every line they acknowledged.

    Args:
        start: starts the process of a number; it writes a line for each piece of work that it acknowledges.
        within_s: longest time from the first line to the kill.
    """
    rng = random.Random(seed)
    acknowledged: list[str] = []
    for number in range(kills):
        with start(number) as process:
            assert process.stdout is not None
            acknowledged.append(process.stdout.readline().strip())
            time.sleep(rng.uniform(0.0, within_s))
            process.kill()
            # What it had acknowledged before it died is in the pipe; a torn last line was none.
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    return acknowledged
