from __future__ import annotations

import time
from itertools import islice

import pytest

from airflow_provider_kernel.client.resources.invocations.wait import (
    held_delays,
    listed_delays,
    poll_delays,
)


def test_poll_delays_start_short_and_grow_to_the_interval(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    assert list(islice(poll_delays(3), 7)) == pytest.approx([0.5, 0.75, 1.125, 1.6875, 2.53125, 3, 3])


def test_poll_delays_of_a_short_interval_do_not_grow(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    assert list(islice(poll_delays(0.2), 3)) == pytest.approx([0.2, 0.2, 0.2])


def test_poll_delays_have_a_jitter_of_a_tenth():
    late = [next(islice(poll_delays(10), 20, None)) for _ in range(300)]
    assert all(9 <= delay <= 11 for delay in late)
    assert min(late) < 9.5
    assert max(late) > 10.5


def test_poll_delays_of_two_tasks_differ():
    assert list(islice(poll_delays(10), 5)) != list(islice(poll_delays(10), 5))


@pytest.mark.parametrize(
    ("has_stream", "delays"),
    [(True, [12, 10, 10, 10]), (False, [12, 6, 9, 10])],
    ids=["with a log stream", "without"],
)
def test_held_delays_begin_with_the_end_of_the_hold(has_stream, delays, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    left = iter([12.0, 12.0, 0.0, 0.0, 0.0])
    assert list(islice(held_delays(10, lambda: next(left), has_stream=has_stream), 4)) == pytest.approx(delays)


def test_held_delays_grow_from_the_hold_to_the_interval(monkeypatch):
    """A log stream may break, or be refused: then nothing else reports the end."""
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    left = iter([10.0, 10.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    delays = list(islice(held_delays(60, lambda: next(left), has_stream=True), 6))
    assert delays == pytest.approx([10, 15, 22.5, 33.75, 50.625, 60])


@pytest.mark.parametrize("has_stream", [True, False])
def test_held_delays_do_not_grow_from_next_to_nothing(has_stream, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    left = iter([0.01, 0.01, 0.0, 0.0])
    assert list(islice(held_delays(10, lambda: next(left), has_stream=has_stream), 2)) == pytest.approx([0.5, 0.75])


def test_held_delays_do_not_end_before_the_hold():
    """An answer may come early, such as one from a list that was read for others."""
    left = iter([8.0, 8.0, 3.0, 2.0, 0.0])
    assert list(islice(held_delays(0.02, lambda: next(left), has_stream=True), 3)) == [8.0, 3.0, 2.0]


def test_listed_delays_repeat_the_last_one_and_leave_out_those_that_are_over():
    assert list(islice(listed_delays([1, 2, 4], time.time()), 5)) == [1, 2, 4, 4, 4]
    assert list(islice(listed_delays([1, 2, 4], time.time() - 3.5), 3)) == [4, 4, 4]
    assert list(islice(listed_delays([1, 2, 4], time.time() - 99), 2)) == [4, 4]
