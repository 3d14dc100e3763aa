"""The short version of `make test-faults`: real servers are killed, share a bank, and lose their index."""

from pathlib import Path

import pytest

from tests.cache.own_redis import PROGRAM
from tests.faults.agreeing import MIXED, agree
from tests.faults.cancelling import cancel_leaders
from tests.faults.consolidating import kill_while_consolidating
from tests.faults.destroying import destroy_index
from tests.faults.distilling import kill_while_distilling
from tests.faults.killing import kill_under_load
from tests.faults.shared_cache import trouble_redis
from tests.faults.sharing import share

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]

HASHING = {"REASONING_BANK_EMBEDDINGS__BACKEND": "hashing"}
"""No model: kills fall into the bank's own work, and a server starts faster."""


def test_what_was_acknowledged_survives_kill_9_once_and_complete(tmp_path: Path) -> None:
    report = kill_under_load(tmp_path, kills=15, seed=7, environment=HASHING)
    assert report.clean, report
    assert report.acknowledged == report.sent > 0


def test_processes_on_one_bank_lose_nothing_and_find_each_others_items_at_once(tmp_path: Path) -> None:
    report = share(tmp_path, processes=4, seconds=8, seed=7, environment=HASHING)
    assert report.clean, report
    assert report.looked > 0


def test_a_destroyed_index_never_shows_in_an_answer_and_comes_back_alone(tmp_path: Path) -> None:
    report = destroy_index(tmp_path, traces=40, seed=7, environment=HASHING)
    assert report.clean, report
    assert report.asked > 0


def test_what_a_model_distils_is_there_once_however_often_it_is_killed(tmp_path: Path) -> None:
    report = kill_while_distilling(tmp_path, kills=3, seed=7)
    assert report.clean, report


def test_a_process_killed_while_it_consolidates_leaves_no_half_merge_and_no_second_survivor(tmp_path: Path) -> None:
    report = kill_while_consolidating(tmp_path, kills=3, seed=7)
    assert report.clean, report


def test_clients_see_nothing_of_a_redis_that_is_killed_frozen_emptied_or_replaced(tmp_path: Path) -> None:
    report = trouble_redis(tmp_path, calls=280, seed=7, places=["hybrid"])
    assert report.clean, report


def test_two_processes_answer_with_caches_as_without(tmp_path: Path) -> None:
    place = MIXED if PROGRAM else "hybrid file"
    report = agree(tmp_path, operations=150, seed=7, places=[place], environment=HASHING)
    assert report.clean, report


def test_who_leaves_harms_nobody_who_waits_for_the_same_answer(tmp_path: Path) -> None:
    report = cancel_leaders(tmp_path, cancels=50)
    assert report.clean, report
    assert report.http.followers == 150
