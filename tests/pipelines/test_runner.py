"""The runner on a real Ray, with small stages of its own."""

from __future__ import annotations

import logging
import os
import time

import pytest

from catalogs.errors import EstimatorUnavailable
from pipelines.runner import Resources, _room, run

pytestmark = pytest.mark.usefixtures("ray_here")


class Echo:
    def __init__(self, fail_at: int = -1, sleep_s: float = 0.0) -> None:
        self.fail_at, self.sleep_s = fail_at, sleep_s

    def __call__(self, row: dict) -> list[dict]:
        time.sleep(self.sleep_s)
        if row["n"] == self.fail_at:
            raise EstimatorUnavailable("no weights", "get them")
        return [{"n": row["n"], "pid": os.getpid(), "half": half} for half in range(row["n"] % 3)]


class Broken:
    def __init__(self) -> None:
        raise EstimatorUnavailable("no model", "hf download it")

    def __call__(self, row: dict) -> list[dict]:
        raise AssertionError("never reached")


def test_every_row_comes_back_from_the_pool():
    results = list(run([{"n": n} for n in range(20)], Echo, {"sleep_s": 0.05}, Resources(workers=2)))
    assert sorted((result["n"], result["half"]) for result in results) == [
        (n, half) for n in range(20) for half in range(n % 3)
    ]
    assert len({result["pid"] for result in results}) == 2


def test_nothing_to_do_starts_nothing():
    assert list(run([], Echo, {}, Resources())) == []


@pytest.mark.parametrize(("stage", "arguments"), [(Echo, {"fail_at": 2}), (Broken, {})])
def test_an_error_of_ours_keeps_its_kind_and_hint(stage, arguments):
    with pytest.raises(EstimatorUnavailable) as caught:
        list(run([{"n": n} for n in range(4)], stage, arguments, Resources(workers=1)))
    assert caught.value.hint in ("get them", "hf download it")


def test_the_watchdog_reports_a_build_that_stands_still(caplog):
    with caplog.at_level(logging.WARNING, "avcontrol"):
        list(run([{"n": 1}], Echo, {"sleep_s": 4.0}, Resources(workers=1, stall_s=1.0)))
    assert any("no result for 1 s" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("gpus", "share", "room"),
    [(2, 0.6, 2), (2, 0.5, 4), (1, 0.1, 10), (3, 2, 1), (4, 2, 2), (8, 1, 8), (0, 0.5, 0), (0, 1, 0)],
)
def test_no_share_straddles_two_gpus_or_two_nodes(gpus: int, share: float, room: int) -> None:
    assert _room(gpus, share) == room
