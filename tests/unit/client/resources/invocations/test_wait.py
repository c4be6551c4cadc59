from __future__ import annotations

from itertools import count, repeat

import pytest

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.flow import Sleep
from airflow_provider_kernel.client.http.response import Response, error_from
from airflow_provider_kernel.client.resources.invocations import wait
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.models import Browser, Invocation
from airflow_provider_kernel.client.resources.invocations.wait import (
    LOST_CONTACT_SECONDS,
    MAX_FAILED_POLLS,
    wait_for_invocation,
)
from airflow_provider_kernel.client.retry import TRANSIENT_STATUSES, Resend

NOW = 1_767_225_600.0
#: The waits between looks, in place of the random ones.
DELAYS = [0.5, 0.75, 1.0, 1.25, 3.0]

READ_TIMEOUT = errors.KernelTimeoutError("no answer in time")
REFUSED = errors.KernelConnectionError("refused", sent=False)
NO_NAME = errors.KernelConnectionError("no name", sent=False, problem=errors.ConnectionProblem.NAME)
NOT_KERNEL = errors.KernelResponseError("HTML", status_code=200)


def http(status, **headers):
    return error_from(Response(status, headers, b'{"code": "c", "message": "m"}'))


def state(status):
    return Invocation(id="abc", status=status)


class Watch:
    """Carries out a watch as a client does, on a clock of its own, and notes what it does."""

    def __init__(self):
        self.now = NOW
        self.intervals = []
        self.did = []
        self.changes = []
        self.troubles = []
        #: How long a look takes.
        self.look_takes = 0.0
        #: What comes of the looks for browsers.
        self.browsers = []

    def delays(self, interval):
        self.intervals.append(interval)
        return (DELAYS[min(n, len(DELAYS) - 1)] for n in count())

    def __call__(self, *answers, poll_interval=10.0, **options):
        """
        Watch.

        :param answers: what comes of the looks, one after another; the last one again and again.
        :return: the flow's result.
        """
        flow = wait_for_invocation(
            "abc",
            poll_interval=poll_interval,
            on_change=lambda invocation: self.changes.append(invocation.status),
            on_poll_error=self.troubles.append,
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
                self.did.append("look")
                assert str(step) == "GET /invocations/abc"
                assert step.resend is Resend.NEVER
                self.now += self.look_takes
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                step = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
        except StopIteration as end:
            return end.value
        raise AssertionError(f"it goes on and on: {self.did[:20]}")

    @property
    def pauses(self):
        return [step for step in self.did if step not in ("look", "browsers")]


@pytest.fixture
def look(monkeypatch):
    look = Watch()
    monkeypatch.setattr("time.time", lambda: look.now)
    monkeypatch.setattr(wait, "poll_delays", look.delays)
    return look


class TestLooks:
    def test_one_that_has_ended_is_looked_at_once(self, look):
        ended = state("succeeded")
        assert look(ended) is ended
        assert look.did == ["look"]

    def test_looks_and_pauses_take_turns(self, look):
        assert look(state("queued"), state("running"), state("running"), state("failed")).status == "failed"
        assert look.did == ["look", 0.5, "look", 0.75, "look", 1.0, "look"]

    def test_the_interval_is_that_of_the_polling(self, look):
        look(state("failed"), poll_interval=7.5)
        assert look.intervals == [7.5]

    def test_without_a_deadline_it_goes_on(self, look):
        look(*[state("running")] * 400, state("succeeded"))
        assert look.did.count("look") == 401

    @pytest.mark.parametrize("status", ["paused", "", "SUCCEEDED", "cancelled"])
    def test_a_status_that_nobody_knows_is_not_the_end(self, look, status):
        assert look(state(status), state(status), state("succeeded")).status == "succeeded"
        assert look.changes == [status, "succeeded"]

    def test_a_wrong_id_is_refused_before_anything_is_sent(self):
        with pytest.raises(errors.KernelInputError):
            next(wait_for_invocation("None", poll_interval=1))

    def test_nobody_need_be_told(self, monkeypatch):
        flow = wait_for_invocation("abc", poll_interval=1)
        next(flow)
        assert isinstance(flow.throw(http(500)), Sleep)
        next(flow)
        assert isinstance(flow.send(state("running")), Sleep)


class TestChanges:
    def test_are_told_once_each(self, look):
        look(*map(state, ["queued", "queued", "running", "running", "running", "succeeded"]))
        assert look.changes == ["queued", "running", "succeeded"]

    def test_back_to_what_it_was_is_one_too(self, look):
        look(*map(state, ["running", "queued", "running", "failed"]))
        assert look.changes == ["running", "queued", "running", "failed"]

    def test_trouble_in_between_is_none(self, look):
        look(state("running"), http(500), state("running"), state("failed"))
        assert look.changes == ["running", "failed"]


class TestTrouble:
    @pytest.mark.parametrize(
        "error",
        [*(http(status) for status in sorted(TRANSIENT_STATUSES)), READ_TIMEOUT, REFUSED, NO_NAME, NOT_KERNEL],
        ids=str,
    )
    def test_that_passes_is_put_up_with(self, look, error):
        assert look(error, state("running"), error, error, state("succeeded")).status == "succeeded"
        assert look.did == ["look", 0.5, "look", 0.75, "look", 1.0, "look", 1.25, "look"]

    def test_is_told_once_an_outage(self, look):
        first, second = http(500), http(503)
        look(first, REFUSED, http(502), state("running"), second, NOT_KERNEL, state("failed"))
        assert look.troubles == [first, second]

    def test_none_is_told_of_when_there_is_none(self, look):
        look(state("running"), state("failed"))
        assert look.troubles == []

    @pytest.mark.parametrize(
        "error", [http(400), http(401), http(403), http(409), http(410), http(418), http(422)], ids=str
    )
    @pytest.mark.parametrize("before", [[], [state("running")], [http(500)]], ids=["first", "seen", "in an outage"])
    def test_that_will_not_pass_is_raised_at_once(self, look, error, before):
        with pytest.raises(errors.KernelAPIError) as raised:
            look(*before, error)
        assert raised.value is error
        assert look.did.count("look") == len(before) + 1
        assert error not in look.troubles

    @pytest.mark.parametrize("error", [errors.KernelConfigurationError("odd"), errors.KernelError("odd")], ids=str)
    def test_that_is_no_failed_look_is_raised(self, look, error):
        with pytest.raises(errors.KernelError) as raised:
            look(error)
        assert raised.value is error


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 503, 529])
    def test_is_the_pause(self, look, status):
        look(http(status, **{"retry-after": "7"}), state("running"), state("failed"))
        assert look.pauses == [7, 0.75]

    def test_the_next_look_does_not_come_sooner_than_usual(self, look):
        look(http(429, **{"retry-after": "0"}), state("failed"))
        assert look.pauses == [0.5]

    @pytest.mark.parametrize("value", ["86400", "9" * 400], ids=["a day", "infinity"])
    def test_is_bounded(self, look, value):
        look(http(503, **{"retry-after": value}), state("failed"))
        assert look.pauses == [300]

    def test_does_not_go_past_the_deadline(self, look):
        with pytest.raises(KernelInvocationTimeoutError):
            look(http(503, **{"retry-after": "60"}), deadline=NOW + 20)
        assert look.pauses == [20]


class TestLostContact:
    """It takes both: many failed polls in a row, and minutes since the last good one."""

    @pytest.fixture
    def slow(self, look):
        """Looks of ten seconds each: so many are more than the minutes."""
        look.look_takes = 10.0
        return look

    @pytest.fixture
    def fast(self, look, monkeypatch):
        """A look every second, as with an interval of one: so many are over long before."""
        monkeypatch.setattr(wait, "poll_delays", lambda interval: repeat(1.0))
        return look

    def test_after_so_many_failed_looks_in_a_row(self, slow):
        last = http(503)
        with pytest.raises(errors.KernelLostContactError) as raised:
            slow(*[http(500)] * (MAX_FAILED_POLLS - 1), last)
        assert raised.value.__cause__ is last
        assert str(raised.value) == (
            f"Lost contact with invocation abc: {MAX_FAILED_POLLS} polls in a row failed, "
            f"over {slow.now - NOW:.0f} seconds; the last: {last}"
        )
        assert not raised.value.permanent
        assert slow.did.count("look") == MAX_FAILED_POLLS
        assert len(slow.troubles) == 1

    def test_one_fewer_and_all_is_well(self, slow):
        assert slow(*[REFUSED] * (MAX_FAILED_POLLS - 1), state("failed")).status == "failed"

    def test_a_good_look_and_the_count_begins_anew(self, slow):
        outage = [REFUSED] * (MAX_FAILED_POLLS - 1)
        assert slow(*outage, state("running"), *outage, state("running"), *outage, state("failed"))
        assert len(slow.troubles) == 3

    def test_many_looks_within_seconds_are_not_enough(self, fast):
        assert fast(*[REFUSED] * 5 * MAX_FAILED_POLLS, state("succeeded")).status == "succeeded"

    def test_then_it_is_the_time_that_counts(self, fast):
        with pytest.raises(errors.KernelLostContactError, match="over 120 seconds"):
            fast(REFUSED)
        assert fast.now == NOW + LOST_CONTACT_SECONDS

    def test_which_counts_from_the_last_good_look(self, fast):
        good_at = 50 + 119
        with pytest.raises(errors.KernelLostContactError, match="120 polls in a row failed, over 120 seconds"):
            fast(*[state("running")] * 50, *[REFUSED] * 119, state("running"), REFUSED)
        assert fast.now == NOW + good_at + LOST_CONTACT_SECONDS

    def test_a_long_time_without_many_looks_is_not_enough(self, look):
        look.look_takes = 10 * LOST_CONTACT_SECONDS
        assert look(*[REFUSED] * (MAX_FAILED_POLLS - 1), state("succeeded")).status == "succeeded"

    def test_comes_before_a_deadline_that_passes_at_the_same_look(self, fast):
        with pytest.raises(errors.KernelLostContactError):
            fast(REFUSED, deadline=NOW + LOST_CONTACT_SECONDS)
        assert fast.now == NOW + LOST_CONTACT_SECONDS


class TestNotFound:
    def test_is_put_up_with_while_it_is_new(self, look):
        missing = http(404)
        assert look(missing, missing, state("queued"), state("succeeded")).status == "succeeded"
        assert look.troubles == [missing]
        assert look.changes == ["queued", "succeeded"]

    def test_but_no_longer_than_the_grace(self, look):
        with pytest.raises(errors.KernelNotFoundError):
            look(http(404))
        assert 30 <= look.now - NOW < 33

    @pytest.mark.parametrize(("seconds", "patient"), [(29.9, True), (30.0, False)])
    def test_the_grace_counts_from_the_first_look(self, look, seconds, patient):
        look.look_takes = seconds
        if patient:
            assert look(http(404), state("failed")).status == "failed"
        else:
            with pytest.raises(errors.KernelNotFoundError):
                look(http(404), state("failed"))

    def test_is_final_once_it_was_seen(self, look):
        with pytest.raises(errors.KernelNotFoundError):
            look(state("queued"), http(404))
        assert look.did == ["look", 0.5, "look"]
        assert look.troubles == []

    def test_is_final_for_one_that_is_not_new(self, look):
        with pytest.raises(errors.KernelNotFoundError):
            look(http(404), is_new=False)
        assert look.did == ["look"]

    def test_of_an_unknown_status_it_was_seen_too(self, look):
        with pytest.raises(errors.KernelNotFoundError):
            look(state("paused"), http(404))

    def test_other_trouble_before_it_changes_nothing(self, look):
        assert look(http(500), http(404), state("failed")).status == "failed"


class TestDeadline:
    def test_the_last_pause_is_what_is_left(self, look):
        with pytest.raises(KernelInvocationTimeoutError) as raised:
            look(state("queued"), state("running"), deadline=NOW + 2)
        assert look.did == ["look", 0.5, "look", 0.75, "look", 0.75, "look"]
        assert str(raised.value) == "Invocation abc did not end in time; it is running"
        assert not raised.value.permanent

    def test_a_final_state_at_the_last_look_wins(self, look):
        assert look(*[state("running")] * 3, state("succeeded"), deadline=NOW + 2).status == "succeeded"
        assert look.now == NOW + 2

    def test_a_final_state_wins_also_when_the_deadline_is_long_past(self, look):
        assert look(state("failed"), deadline=NOW - 1000).status == "failed"

    @pytest.mark.parametrize("deadline", [NOW, NOW - 1000, 0.0])
    def test_one_that_is_past_leaves_one_look(self, look, deadline):
        with pytest.raises(KernelInvocationTimeoutError):
            look(state("running"), deadline=deadline)
        assert look.did == ["look"]

    def test_the_time_that_looks_take_counts(self, look):
        look.look_takes = 1.4
        with pytest.raises(KernelInvocationTimeoutError):
            look(state("running"), deadline=NOW + 2)
        assert look.did == ["look", 0.5, "look"]

    def test_it_holds_during_an_outage_too(self, look):
        with pytest.raises(KernelInvocationTimeoutError) as raised:
            look(REFUSED, deadline=NOW + 2)
        assert str(raised.value) == "Invocation abc did not end in time; it is in an unknown state"

    def test_it_holds_for_one_that_is_not_found(self, look):
        with pytest.raises(KernelInvocationTimeoutError):
            look(http(404), deadline=NOW + 2)

    def test_what_will_not_pass_comes_before_it(self, look):
        with pytest.raises(errors.KernelAuthenticationError):
            look(http(401), deadline=NOW - 1)


class TestBrowsers:
    ONE = Browser(session_id="s1")

    @pytest.fixture
    def found(self):
        return []

    @pytest.fixture
    def look_for(self, look, found):
        def look_for(*answers):
            return look(*answers, on_browser=lambda invocation, browser: found.append((invocation, browser)))

        return look_for

    def test_are_not_asked_for_unless_somebody_wants_to_know(self, look):
        look(state("running"), state("running"), state("succeeded"))
        assert "browsers" not in look.did

    def test_are_asked_for_while_it_runs_until_there_is_one(self, look, look_for, found):
        running = state("running")
        look.browsers = [[], [self.ONE, Browser(session_id="s2")]]
        look_for(state("queued"), running, running, running, state("succeeded"))
        assert [step for step in look.did if isinstance(step, str)] == [
            *("look", "look", "browsers", "look", "browsers", "look", "look")
        ]
        assert found == [(running, self.ONE)]

    def test_of_one_that_is_over_are_not_asked_for(self, look, look_for):
        look_for(state("succeeded"))
        assert look.did == ["look"]

    @pytest.mark.parametrize("error", [http(404), http(401), http(500), READ_TIMEOUT, NOT_KERNEL], ids=str)
    def test_that_cannot_be_had_are_asked_for_again_and_nothing_is_lost(self, look, look_for, found, error):
        look.browsers = [error, error, [self.ONE]]
        ended = state("succeeded")
        assert look_for(*[state("running")] * 5, ended) is ended
        assert [browser for _, browser in found] == [self.ONE]
        assert look.troubles == []

    def test_are_asked_for_some_times_only(self, look, look_for, found):
        look.browsers = [[]] * 999
        look_for(*[state("running")] * 100, state("succeeded"))
        assert look.did.count("browsers") == wait.MAX_BROWSER_POLLS == 20
        assert found == []
