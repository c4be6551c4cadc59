from __future__ import annotations

from itertools import count, repeat

import pytest

from airflow_provider_kernel.client import errors, outage
from airflow_provider_kernel.client.destination import ConnectionProblem
from airflow_provider_kernel.client.flow import Sleep
from airflow_provider_kernel.client.http.response import Response, error_from
from airflow_provider_kernel.client.resources.invocations import wait
from airflow_provider_kernel.client.resources.invocations.browser_models import Browser
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.time_limits import LONGEST_LIFE_SECONDS
from airflow_provider_kernel.client.resources.invocations.wait import wait_for_invocation
from airflow_provider_kernel.client.retry import Resend

NOW = 1_767_225_600.0
#: The pauses between polls, in place of the random ones.
DELAYS = [0.5, 0.75, 1.0, 1.25, 3.0]

READ_TIMEOUT = errors.KernelTimeoutError("no answer in time")
REFUSED = errors.KernelConnectionError("refused", sent=False)
NO_NAME = errors.KernelConnectionError("no name", sent=False, problem=ConnectionProblem.NAME)
NOT_KERNEL = errors.KernelResponseError("HTML", status_code=200)


def http(status, **headers):
    return error_from(Response(status, headers, b'{"code": "c", "message": "m"}'))


#: All that a poll may meet: each status on which proxies and servers disagree, and each way to get no answer.
STATUSES = (
    400,
    401,
    403,
    404,
    405,
    408,
    409,
    410,
    418,
    422,
    425,
    429,
    *range(500, 512),
    *range(520, 531),
    598,
    599,
)
ABSENT = http(404)
NOT_TRUSTED = errors.KernelConnectionError("certificate", sent=False, problem=ConnectionProblem.TLS)
ANY_ERROR = [
    *(http(status) for status in STATUSES if status != 404),
    *(ABSENT, READ_TIMEOUT, REFUSED, NO_NAME, NOT_TRUSTED, NOT_KERNEL, errors.KernelConfigurationError("odd")),
]


def state(status):
    return Invocation(id="abc", status=status)


class WaitDriver:
    """Runs the flow as a client does, on a clock of its own, and records its steps."""

    def __init__(self):
        self.now = NOW
        self.intervals = []
        self.did = []
        self.changes = []
        self.poll_errors = []
        #: How long a poll takes.
        self.poll_seconds = 0.0
        #: The answers to its fetches of browsers.
        self.browsers = []

    def delays(self, interval):
        self.intervals.append(interval)
        return (DELAYS[min(n, len(DELAYS) - 1)] for n in count())

    def __call__(self, *answers, poll_interval=10.0, **options):
        """
        Run the flow.

        :param answers: the answers to its polls, in order; the last one is repeated.
        :return: the flow's result.
        """
        flow = wait_for_invocation(
            "abc",
            poll_interval=poll_interval,
            on_change=lambda invocation: self.changes.append(invocation.status),
            on_poll_error=self.poll_errors.append,
            **options,
        )
        answers = list(answers)
        step = next(flow)
        try:
            for _ in range(1000):
                if isinstance(step, Sleep):
                    self.did.append(step.seconds)
                    self.now += step.seconds
                    step = next(flow)
                    continue
                if str(step) == "GET /invocations/abc/browsers":
                    assert step.resend is Resend.NEVER
                    self.did.append("browsers")
                    answer = self.browsers.pop(0)
                    step = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
                    continue
                self.did.append("poll")
                assert str(step) == "GET /invocations/abc"
                assert step.resend is Resend.NEVER
                self.now += self.poll_seconds
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                step = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
        except StopIteration as end:
            return end.value
        raise AssertionError(f"the flow does not end: {self.did[:20]}")

    @property
    def pauses(self):
        return [step for step in self.did if step not in ("poll", "browsers")]


@pytest.fixture
def poll(monkeypatch):
    poll = WaitDriver()
    monkeypatch.setattr("time.time", lambda: poll.now)
    monkeypatch.setattr("time.monotonic", lambda: poll.now - NOW + 100.0)
    monkeypatch.setattr(wait, "poll_delays", poll.delays)
    return poll


class TestPolls:
    def test_ended_invocation_is_polled_once(self, poll):
        ended = state("succeeded")
        assert poll(ended) is ended
        assert poll.did == ["poll"]

    def test_polls_and_pauses_alternate(self, poll):
        assert poll(state("queued"), state("running"), state("running"), state("failed")).status == "failed"
        assert poll.did == ["poll", 0.5, "poll", 0.75, "poll", 1.0, "poll"]

    def test_wait_may_begin_with_a_pause(self, poll):
        poll(state("running"), state("failed"), polls_at_once=False)
        assert poll.did == [0.5, "poll", 0.75, "poll"]

    @pytest.mark.parametrize(("deadline", "pause"), [(NOW + 0.2, 0.2), (NOW, 0.0), (0.0, 0.0)])
    def test_pause_before_the_first_poll_ends_at_the_deadline(self, poll, deadline, pause):
        with pytest.raises(KernelInvocationTimeoutError):
            poll(state("running"), polls_at_once=False, deadline=deadline)
        assert poll.did == [pytest.approx(pause), "poll"]

    def test_grace_period_of_not_found_begins_after_the_first_pause(self, poll, monkeypatch):
        monkeypatch.setattr(wait, "poll_delays", lambda interval: repeat(60.0))
        assert poll(ABSENT, state("failed"), polls_at_once=False).status == "failed"

    def test_pauses_follow_the_poll_interval(self, poll):
        poll(state("failed"), poll_interval=7.5)
        assert poll.intervals == [7.5]

    def test_wait_without_a_deadline_goes_on(self, poll):
        poll(*[state("running")] * 400, state("succeeded"))
        assert poll.did.count("poll") == 401

    @pytest.mark.parametrize("status", ["paused", "", "SUCCEEDED", "cancelled"])
    def test_unknown_status_does_not_end_the_wait(self, poll, status):
        assert poll(state(status), state(status), state("succeeded")).status == "succeeded"
        assert poll.changes == [status, "succeeded"]

    def test_wait_for_an_invalid_id_is_refused_before_anything_is_sent(self):
        with pytest.raises(errors.KernelInputError):
            next(wait_for_invocation("None", poll_interval=1))

    def test_wait_works_without_callbacks(self, monkeypatch):
        flow = wait_for_invocation("abc", poll_interval=1)
        next(flow)
        assert isinstance(flow.throw(http(500)), Sleep)
        next(flow)
        assert isinstance(flow.send(state("running")), Sleep)


class TestChanges:
    def test_each_status_change_is_reported_once(self, poll):
        poll(*map(state, ["queued", "queued", "running", "running", "running", "succeeded"]))
        assert poll.changes == ["queued", "running", "succeeded"]

    def test_change_back_to_an_earlier_status_is_reported(self, poll):
        poll(*map(state, ["running", "queued", "running", "failed"]))
        assert poll.changes == ["running", "queued", "running", "failed"]

    def test_failed_poll_is_no_status_change(self, poll):
        poll(state("running"), http(500), state("running"), state("failed"))
        assert poll.changes == ["running", "failed"]


class TestPollErrors:
    @pytest.mark.parametrize("error", ANY_ERROR, ids=str)
    def test_no_poll_error_ends_the_wait_once_a_poll_has_succeeded(self, poll, error):
        assert poll(state("running"), error, error, error, state("succeeded")).status == "succeeded"

    @pytest.mark.parametrize("error", [error for error in ANY_ERROR if error is not ABSENT], ids=str)
    def test_no_poll_error_ends_the_wait_once_the_create_has_succeeded(self, poll, error):
        assert poll(error, error, error, state("succeeded"), is_new=True).status == "succeeded"

    @pytest.mark.parametrize("error", [http(400), http(401), http(403), ABSENT, http(422), NOT_TRUSTED], ids=str)
    def test_first_poll_of_an_id_that_was_given_shows_that_it_cannot_work(self, poll, error):
        with pytest.raises(errors.KernelError) as raised:
            poll(error, is_new=False)
        assert raised.value is error
        assert poll.did == ["poll"]

    @pytest.mark.parametrize("error", [http(520), http(503), READ_TIMEOUT, REFUSED, NOT_KERNEL], ids=str)
    def test_first_poll_of_an_id_that_was_given_may_fail_for_a_passing_reason(self, poll, error):
        assert poll(error, state("failed"), is_new=False).status == "failed"

    def test_pauses_grow_while_polls_fail_and_start_anew_after_a_success(self, poll):
        poll(*[REFUSED] * 3, state("running"), *[REFUSED] * 10, state("failed"))
        assert poll.pauses == [0.5, 1, 2, 1.25, 3, 6, 12, 24, 48, 60, 60, 60, 60, 60]

    def test_longer_interval_is_the_pause_of_an_outage_too(self, poll, monkeypatch):
        monkeypatch.setattr(wait, "poll_delays", lambda interval: repeat(90.0))
        poll(*[REFUSED] * 3, state("failed"))
        assert poll.pauses == [90, 90, 90]

    def test_outage_is_reported_at_its_start_and_then_every_five_minutes(self, poll):
        first, second = http(500), http(503)
        poll(first, *[REFUSED] * 18, state("running"), second, NOT_KERNEL, state("failed"))
        # Seven growing pauses take a minute, and five of a minute each follow.
        assert poll.poll_errors == [first, REFUSED, REFUSED, second]

    def test_no_poll_error_is_reported_without_one(self, poll):
        poll(state("running"), state("failed"))
        assert poll.poll_errors == []

    @pytest.mark.parametrize("error", [errors.KernelError("odd"), errors.KernelTaskKilledError()], ids=str)
    def test_error_that_is_no_failed_poll_is_raised(self, poll, error):
        with pytest.raises(errors.KernelError) as raised:
            poll(state("running"), error)
        assert raised.value is error


class TestRefusedKey:
    @pytest.mark.parametrize("error", [http(401), http(403), errors.KernelConfigurationError("odd")], ids=str)
    def test_key_that_is_refused_for_five_minutes_ends_the_wait_and_nothing_else(self, poll, error):
        with pytest.raises(errors.KernelLostContactError, match="No access to invocation abc for 3") as raised:
            poll(state("running"), error, deadline=NOW + 3000)
        assert raised.value.ends_nothing
        assert not raised.value.permanent
        assert raised.value.__cause__ is error
        assert outage.ACCESS_SECONDS <= poll.now - NOW < outage.ACCESS_SECONDS + 61

    def test_key_that_works_again_goes_on(self, poll):
        refusals = [http(401)] * 5
        assert poll(*refusals, state("running"), *refusals, state("failed")).status == "failed"

    def test_another_error_than_the_refusal_counts_it_anew(self, poll):
        refusals = [http(401)] * 5
        assert poll(*refusals, http(500), *refusals, state("failed")).status == "failed"

    def test_deadline_may_come_first(self, poll):
        with pytest.raises(KernelInvocationTimeoutError):
            poll(state("running"), http(401), deadline=NOW + 100)


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 503, 529])
    def test_retry_after_is_the_pause_before_the_next_poll(self, poll, status):
        poll(http(status, **{"retry-after": "7"}), state("running"), state("failed"))
        assert poll.pauses == [7, 0.75]

    def test_short_retry_after_does_not_shorten_the_pause(self, poll):
        poll(http(429, **{"retry-after": "0"}), state("failed"))
        assert poll.pauses == [0.5]

    @pytest.mark.parametrize("value", ["86400", "9" * 400], ids=["a day", "infinity"])
    def test_retry_after_of_a_poll_is_bounded(self, poll, value):
        poll(http(503, **{"retry-after": value}), state("failed"))
        assert poll.pauses == [300]

    def test_retry_after_does_not_exceed_the_deadline(self, poll):
        with pytest.raises(KernelInvocationTimeoutError):
            poll(http(503, **{"retry-after": "60"}), deadline=NOW + 20)
        assert poll.pauses == [20]


class TestLostContact:
    def test_wait_without_a_deadline_ends_when_the_invocation_cannot_live_any_more(self, poll):
        with pytest.raises(errors.KernelLostContactError, match="Lost contact with invocation abc: ") as raised:
            poll(*[state("running")] * 9, REFUSED)
        assert not raised.value.ends_nothing
        assert raised.value.__cause__ is REFUSED
        assert LONGEST_LIFE_SECONDS <= poll.now - NOW < LONGEST_LIFE_SECONDS + 100

    def test_wait_with_a_deadline_goes_on_until_then(self, poll):
        with pytest.raises(KernelInvocationTimeoutError):
            poll(state("running"), REFUSED, deadline=NOW + 2 * LONGEST_LIFE_SECONDS)
        assert poll.now == NOW + 2 * LONGEST_LIFE_SECONDS


class TestNotFound:
    def test_not_found_is_tolerated_for_a_new_invocation(self, poll):
        assert poll(ABSENT, ABSENT, state("queued"), state("succeeded")).status == "succeeded"
        assert poll.poll_errors == [ABSENT]
        assert poll.changes == ["queued", "succeeded"]

    def test_not_found_is_raised_after_the_grace_period(self, poll):
        with pytest.raises(errors.KernelNotFoundError):
            poll(ABSENT)
        assert 30 <= poll.now - NOW < 60

    @pytest.mark.parametrize(("seconds", "patient"), [(29.9, True), (30.0, False)])
    def test_grace_period_of_not_found_counts_from_the_first_poll(self, poll, seconds, patient):
        poll.poll_seconds = seconds
        if patient:
            assert poll(ABSENT, state("failed")).status == "failed"
        else:
            with pytest.raises(errors.KernelNotFoundError):
                poll(ABSENT, state("failed"))

    def test_not_found_after_another_poll_error_is_tolerated(self, poll):
        assert poll(http(500), ABSENT, state("failed")).status == "failed"

    @pytest.mark.parametrize("status", ["queued", "paused"])
    def test_not_found_passes_once_the_invocation_was_seen(self, poll, status):
        assert poll(state(status), *[ABSENT] * 20, state("succeeded")).status == "succeeded"

    def test_not_found_passes_if_another_process_has_seen_it(self, poll):
        assert poll(*[ABSENT] * 20, state("succeeded"), is_new=False, was_seen=True).status == "succeeded"

    def test_not_found_that_a_proxy_says_passes_for_a_new_invocation(self, poll):
        page = error_from(Response(404, {}, b"<html>"))
        assert poll(*[page] * 20, state("succeeded")).status == "succeeded"


class TestDeadline:
    def test_last_pause_ends_at_the_deadline(self, poll):
        with pytest.raises(KernelInvocationTimeoutError) as raised:
            poll(state("queued"), state("running"), deadline=NOW + 2)
        assert poll.did == ["poll", 0.5, "poll", 0.75, "poll", 0.75, "poll"]
        assert str(raised.value) == "Invocation abc did not end within 2 s; it is running"
        assert not raised.value.permanent

    def test_final_status_in_the_last_poll_is_returned(self, poll):
        assert poll(*[state("running")] * 3, state("succeeded"), deadline=NOW + 2).status == "succeeded"
        assert poll.now == NOW + 2

    def test_final_status_is_returned_long_after_the_deadline(self, poll):
        assert poll(state("failed"), deadline=NOW - 1000).status == "failed"

    @pytest.mark.parametrize("deadline", [NOW, NOW - 1000, 0.0])
    def test_deadline_in_the_past_allows_one_poll(self, poll, deadline):
        with pytest.raises(KernelInvocationTimeoutError):
            poll(state("running"), deadline=deadline)
        assert poll.did == ["poll"]

    def test_duration_of_polls_counts_against_the_deadline(self, poll):
        poll.poll_seconds = 1.4
        with pytest.raises(KernelInvocationTimeoutError):
            poll(state("running"), deadline=NOW + 2)
        assert poll.did == ["poll", 0.5, "poll"]

    def test_deadline_holds_during_an_outage(self, poll):
        with pytest.raises(KernelInvocationTimeoutError) as raised:
            poll(REFUSED, deadline=NOW + 2)
        assert str(raised.value) == (
            "Invocation abc did not end within 2 s; its state is unknown, and the last poll failed: refused. "
            + str(REFUSED.advice)
        )

    def test_deadline_holds_for_an_invocation_that_is_not_found(self, poll):
        with pytest.raises(KernelInvocationTimeoutError):
            poll(http(404), deadline=NOW + 2)

    def test_permanent_error_of_the_first_poll_precedes_the_deadline(self, poll):
        with pytest.raises(errors.KernelAuthenticationError):
            poll(http(401), deadline=NOW - 1, is_new=False)

    def test_deadline_says_whether_the_invocation_was_seen(self, poll):
        for answer, was_seen in ((state("running"), True), (REFUSED, False)):
            with pytest.raises(KernelInvocationTimeoutError) as raised:
                poll(answer, deadline=poll.now)
            assert raised.value.was_seen is was_seen

    @pytest.mark.parametrize("step", [-86_400.0, 86_400.0])
    def test_wall_clock_that_is_set_moves_no_deadline(self, poll, monkeypatch, step):
        began = poll.now
        monkeypatch.setattr("time.time", lambda: poll.now + (step if poll.now > began else 0.0))
        with pytest.raises(KernelInvocationTimeoutError):
            poll(state("running"), deadline=NOW + 20)
        assert poll.now == NOW + 20


class TestBrowsers:
    ONE = Browser(session_id="s1")

    @pytest.fixture
    def found(self):
        return []

    @pytest.fixture
    def poll_with_browsers(self, poll, found):
        def poll_with_browsers(*answers):
            return poll(*answers, on_browser=lambda invocation, browser: found.append((invocation, browser)))

        return poll_with_browsers

    def test_browsers_are_not_fetched_without_on_browser(self, poll):
        poll(state("running"), state("running"), state("succeeded"))
        assert "browsers" not in poll.did

    def test_browsers_are_fetched_while_running_until_there_is_one(self, poll, poll_with_browsers, found):
        running = state("running")
        poll.browsers = [[], [self.ONE, Browser(session_id="s2")]]
        poll_with_browsers(state("queued"), running, running, running, state("succeeded"))
        assert [step for step in poll.did if isinstance(step, str)] == [
            *("poll", "poll", "browsers", "poll", "browsers", "poll", "poll")
        ]
        assert found == [(running, self.ONE)]

    def test_browsers_of_an_ended_invocation_are_not_fetched(self, poll, poll_with_browsers):
        poll_with_browsers(state("succeeded"))
        assert poll.did == ["poll"]

    @pytest.mark.parametrize("error", [http(404), http(401), http(500), READ_TIMEOUT, NOT_KERNEL], ids=str)
    def test_failed_fetch_of_browsers_does_not_fail_the_wait(self, poll, poll_with_browsers, found, error):
        poll.browsers = [error, error, [self.ONE]]
        ended = state("succeeded")
        assert poll_with_browsers(*[state("running")] * 5, ended) is ended
        assert [browser for _, browser in found] == [self.ONE]
        assert poll.poll_errors == []

    def test_browsers_are_fetched_a_limited_number_of_times(self, poll, poll_with_browsers, found):
        poll.browsers = [[]] * 999
        poll_with_browsers(*[state("running")] * 100, state("succeeded"))
        assert poll.did.count("browsers") == wait.MAX_BROWSER_POLLS == 20
        assert found == []
