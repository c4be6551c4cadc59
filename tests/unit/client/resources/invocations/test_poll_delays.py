from __future__ import annotations

import time
from itertools import islice

import pytest

from airflow_provider_kernel.client.resources.invocations.wait import listed_delays, poll_delays


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


def test_listed_delays_repeat_the_last_one_and_leave_out_those_that_are_over():
    assert list(islice(listed_delays([1, 2, 4], time.time()), 5)) == [1, 2, 4, 4, 4]
    assert list(islice(listed_delays([1, 2, 4], time.time() - 3.5), 3)) == [4, 4, 4]
    assert list(islice(listed_delays([1, 2, 4], time.time() - 99), 2)) == [4, 4]
