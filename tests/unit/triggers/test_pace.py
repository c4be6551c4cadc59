"""How often many waits ask, and in which way."""

import pytest

from airflow_provider_kernel.triggers.pace import Pace

INTERVAL = 10.0


@pytest.fixture
def pace_of():
    def pace_of(waits, *, cost=None, called=0.0):
        pace = Pace()
        for _ in range(waits):
            pace.joined(INTERVAL)
        if cost is not None:
            pace.called(cost, called, is_complete=True)
        return pace

    return pace_of


def prefers_the_list(pace, *, waiting, due, now=1000.0):
    return pace.prefers_the_list(waiting=waiting, due=due, interval=INTERVAL, now=now)


class TestTheRest:
    @pytest.mark.parametrize(
        ("waits", "seconds"),
        [(1, 25.0), (1000, 25.0), (2000, 25.0), (5000, 10.0), (50_000, 1.0)],
        ids=[
            "one",
            "no more than four a second",
            "the same",
            "a fiftieth of what each would send",
            "the same of more",
        ],
    )
    def test_lasts_as_long_as_a_hundred_requests_allow(self, pace_of, waits, seconds):
        pace = pace_of(waits)
        pace.spent(100, 1000.0)
        assert pace.rest(1000.0) == pytest.approx(seconds)
        assert pace.rest(1000.0 + seconds) == 0

    def test_is_none_before_the_first_request(self, pace_of):
        assert pace_of(5000).rest(0.0) == 0

    def test_is_what_the_server_asks_for_if_that_is_longer(self, pace_of):
        pace = pace_of(10)
        pace.refused(30.0, 1000.0)
        pace.spent(4, 1000.0)
        assert pace.rest(1000.0) == 30

    def test_is_shorter_the_more_wait(self, pace_of):
        pace = pace_of(10_000)
        for _ in range(5000):
            pace.left(INTERVAL)
        pace.spent(100, 0.0)
        assert pace.rest(0.0) == pytest.approx(10)

    def test_is_none_where_each_looks_for_itself(self, pace_of):
        pace = pace_of(5000)
        pace.list_failed(1000.0)
        pace.spent(5000, 1000.0)
        assert pace.rest(1000.0) == 0


class TestTheList:
    def test_is_not_for_one_or_two(self, pace_of):
        assert not prefers_the_list(pace_of(1), waiting=1, due=1)
        assert not prefers_the_list(pace_of(2), waiting=2, due=2)

    def test_is_for_a_few_as_it_is_short(self, pace_of):
        assert prefers_the_list(pace_of(3), waiting=3, due=1)

    def test_is_not_for_fewer_than_it_has_pages(self, pace_of):
        assert not prefers_the_list(pace_of(20, cost=20, called=900.0), waiting=20, due=20)
        assert prefers_the_list(pace_of(21, cost=20, called=900.0), waiting=21, due=1)

    def test_is_read_once_an_interval_and_not_for_every_newcomer(self, pace_of):
        """A new one looks soon and often; fifty pages are more than one request for it."""
        pace = pace_of(5000, cost=50)
        assert not prefers_the_list(pace, waiting=5000, due=1, now=0.5)
        assert not prefers_the_list(pace, waiting=5000, due=1, now=9.0)
        assert prefers_the_list(pace, waiting=5000, due=1, now=9.9)

    def test_is_read_earlier_for_a_crowd_of_newcomers(self, pace_of):
        assert prefers_the_list(pace_of(5000, cost=50), waiting=5000, due=49, now=0.5)

    def test_that_was_too_long_is_tried_again_later(self, pace_of):
        pace = pace_of(30)
        pace.called(30, 0.0, is_complete=False)
        assert not prefers_the_list(pace, waiting=50, due=30, now=200.0)
        assert prefers_the_list(pace, waiting=30, due=30, now=301.0)

    def test_that_failed_is_tried_again_later(self, pace_of):
        pace = pace_of(1000)
        pace.list_failed(0.0)
        assert not prefers_the_list(pace, waiting=1000, due=1000, now=299.0)
        assert prefers_the_list(pace, waiting=1000, due=1000, now=301.0)

    def test_that_is_behind_is_tried_again_soon(self, pace_of):
        pace = pace_of(1000)
        pace.list_told_too_little(0.0)
        assert not prefers_the_list(pace, waiting=1000, due=1000, now=29.0)
        assert prefers_the_list(pace, waiting=1000, due=1000, now=31.0)
