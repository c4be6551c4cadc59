"""How many requests the subscriptions of a poller may send together."""

import pytest

from airflow_provider_kernel.triggers._polling.rate_budget import RateBudget


def budget_of(subscriptions, interval=10.0):
    budget = RateBudget()
    budget.individual_rate = subscriptions / interval
    return budget


@pytest.mark.parametrize(
    ("subscriptions", "seconds"),
    [(1, 25.0), (2000, 25.0), (5000, 10.0), (50_000, 1.0)],
    ids=["four a second for one", "four a second for many", "a fiftieth", "a fiftieth of more"],
)
def test_a_hundred_requests_delay_the_next_one(subscriptions, seconds):
    budget = budget_of(subscriptions)
    budget.charge(100, 1000.0)
    assert budget.free_at == pytest.approx(1000.0 + seconds)


def test_the_first_request_is_not_delayed():
    assert budget_of(5000).free_at < 0


def test_pages_charged_one_by_one_delay_as_all_at_once():
    budget = budget_of(5000)
    for _ in range(50):
        budget.charge(1, 1000.0)
    assert budget.free_at == pytest.approx(1005.0)


def test_a_pause_of_the_server_counts_if_it_is_longer():
    budget = budget_of(10)
    budget.charge(4, 1000.0)
    budget.pause(30.0, 1000.0)
    assert budget.free_at == 1030.0
    budget.pause(1.0, 1000.0)
    assert budget.free_at == 1030.0


def test_polls_one_by_one_are_allowed_at_the_individual_rate():
    budget = budget_of(5000)
    budget.charge(100, 1000.0, share=1.0)
    assert budget.free_at == pytest.approx(1000.2)
