from __future__ import annotations

from itertools import islice

import pytest

from airflow_provider_kernel.client.resources.invocations.wait import poll_delays


def test_starts_short_and_grows_to_the_interval(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    assert list(islice(poll_delays(3), 7)) == pytest.approx([0.5, 0.75, 1.125, 1.6875, 2.53125, 3, 3])


def test_a_short_interval_is_kept_from_the_start(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    assert list(islice(poll_delays(0.2), 3)) == pytest.approx([0.2, 0.2, 0.2])


def test_each_is_up_to_a_tenth_off():
    late = [next(islice(poll_delays(10), 20, None)) for _ in range(300)]
    assert all(9 <= delay <= 11 for delay in late)
    assert min(late) < 9.5
    assert max(late) > 10.5


def test_two_tasks_do_not_look_in_step():
    assert list(islice(poll_delays(10), 5)) != list(islice(poll_delays(10), 5))
