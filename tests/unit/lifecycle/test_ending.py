"""How long an end is tried, and what counts as done."""

import itertools
import logging
import time

import pytest

from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import (
    KernelAPIError,
    KernelAuthenticationError,
    KernelConnectionError,
    KernelNotFoundError,
)
from airflow_provider_kernel.client.flow import Sleep
from airflow_provider_kernel.client.resources.invocations.requests import get_invocation
from airflow_provider_kernel.lifecycle.ending import end_within, for_ending
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.resource import EndReport


class Lamp:
    """A resource with one request to its end."""

    kind = "lamp"

    def end(self, record, reason, *, urgent):
        yield from get_invocation(record.external_id)
        return EndReport(((logging.INFO, "Lamp l1 was switched off"),))


def api_error(status, error_class=KernelAPIError, **options):
    return error_class("trouble", status_code=status, **options)


@pytest.fixture
def end(monkeypatch):
    """End a lamp on a clock of its own; return the report, how long it took, and the number of requests."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def end(outcomes, *, seconds=120.0, request_takes=0.0, **options):
        nonlocal now
        began, requests = now, 0
        flow = end_within(seconds, Lamp(), StartRecord.naming("l1"), "over", **options)
        outcomes = iter(outcomes)
        step = next(flow)
        try:
            while True:
                if isinstance(step, Sleep):
                    now += step.seconds
                    step = flow.send(None)
                    continue
                requests += 1
                now += request_takes
                outcome = next(outcomes)
                step = flow.throw(outcome) if isinstance(outcome, Exception) else flow.send(outcome)
        except StopIteration as result:
            return result.value, now - began, requests

    return end


FAILURES = [
    api_error(500),
    api_error(503),
    api_error(429),
    api_error(400),
    api_error(401, KernelAuthenticationError),
    KernelConnectionError("refused", sent=False),
    KernelConnectionError("lost", sent=True),
]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_end_is_tried_again_after_every_failure_until_it_is_done(end, failure):
    report, _, requests = end([failure] * 30 + ["taken"])
    assert (report.is_done, requests) == (True, 31)


@pytest.mark.parametrize("seconds", [4.0, 120.0, 600.0])
@pytest.mark.parametrize("urgent", [False, True], ids=["ordinary", "urgent"])
def test_last_attempt_of_an_end_starts_when_its_time_is_over(end, seconds, urgent):
    report, took, _ = end(itertools.repeat(api_error(500)), seconds=seconds, urgent=urgent)
    assert not report.is_done
    assert took == pytest.approx(seconds)


def test_request_that_hangs_does_not_shorten_the_time_of_an_end(end):
    hanging = itertools.repeat(KernelConnectionError("no answer", sent=True))
    _, took, requests = end(hanging, request_takes=5.0)
    assert 110 <= took <= 125
    assert requests >= 10


def test_object_that_does_not_exist_any_more_is_ended(end):
    report, took, requests = end([api_error(404, KernelNotFoundError, code="not_found")])
    assert (report.is_done, took, requests) == (True, 0.0, 1)
    assert "does not exist any more" in report.lines[0][1]


@pytest.mark.parametrize("code", [None, "project_not_found"], ids=["of a proxy", "about the project"])
def test_404_that_does_not_say_that_the_object_is_absent_is_no_end(end, code):
    report, _, requests = end([api_error(404, KernelNotFoundError, code=code), "taken"])
    assert (report.is_done, requests) == (True, 2)
    assert "was switched off" in report.lines[0][1]


class GivenUpError(Exception):
    pass


def test_end_is_checked_before_each_attempt_but_the_first_and_may_be_given_up(end):
    checks = []

    def check():
        checks.append(True)
        if len(checks) == 2:
            raise GivenUpError

    with pytest.raises(GivenUpError):
        end(itertools.repeat(api_error(500)), check=check)
    assert len(checks) == 2


@pytest.mark.parametrize(("urgent", "longest"), [(False, 5.0), (True, 0.3)], ids=["ordinary", "urgent"])
def test_end_waits_no_longer_than_its_own_longest_pause_whatever_kernel_asks_for(end, urgent, longest):
    report, took, _ = end([api_error(503, retry_after=3600.0), "taken"], urgent=urgent)
    assert report.is_done
    assert took == longest


@pytest.mark.parametrize("failure", [api_error(503), api_error(503, retry_after=0.0)], ids=["no", "0"])
def test_retry_after_0_does_not_multiply_the_requests_of_an_end(end, failure):
    _, _, requests = end(itertools.repeat(failure))
    assert requests < 200


def test_end_logs_once_that_it_goes_on_and_the_report_names_who_is_next(end, caplog):
    failures = itertools.repeat(api_error(500))
    report, *_ = end(failures, next_in_line="the safety net of the DAG")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Lamp l1 could not be ended yet" in caplog.text
    assert "trying again for up to 120 s" in caplog.text
    ((level, text),) = report.lines
    assert level == logging.ERROR
    assert text.endswith("Next in line: the safety net of the DAG")


def test_end_in_a_signal_handler_logs_nothing(end, caplog):
    end(itertools.repeat(api_error(500)), seconds=4.0, urgent=True, logger=None)
    assert not caplog.records


def test_end_that_succeeds_says_how_long_it_took(end):
    report, *_ = end([api_error(500), "taken"], request_takes=2.0)
    assert report.lines[0][1].startswith("Lamp l1 was switched off (in 4.")


def test_client_for_ends_has_short_timeouts_and_leaves_the_attempts_to_the_end():
    config = KernelConfig(api_key="sk-test-key", connect_timeout=30.0, read_timeout=0.5)
    ending, urgent = for_ending(config), for_ending(config, urgent=True)
    assert (ending.connect_timeout, ending.read_timeout) == (5.0, 0.5)
    assert (urgent.connect_timeout, urgent.read_timeout) == (1.2, 0.5)
    assert {ending.retry.max_attempts, urgent.retry.max_attempts} == {1}
