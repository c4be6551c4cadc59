from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import pytest
import tenacity

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.destination import ConnectionProblem
from airflow_provider_kernel.client.errors import KernelConfigurationError
from airflow_provider_kernel.client.flow import Sleep, with_retries
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.http.response import Response, error_from
from airflow_provider_kernel.client.retry import (
    Resend,
    RetryPolicy,
    may_have_acted,
    may_resend,
    pause_after,
    was_refused,
)


def http(status, retry_after=None):
    """The error of an answer with this status."""
    return error_from(Response(status, {} if retry_after is None else {"retry-after": str(retry_after)}, b""))


NOT_RESOLVED = errors.KernelConnectionError("", sent=False, problem=ConnectionProblem.NAME)
REFUSED = errors.KernelConnectionError("", sent=False, problem=ConnectionProblem.REFUSED)
TLS = errors.KernelConnectionError("", sent=False, problem=ConnectionProblem.TLS)
RESET = errors.KernelConnectionError("")
CONNECT_TIMEOUT = errors.KernelTimeoutError("", sent=False)
READ_TIMEOUT = errors.KernelTimeoutError("")
NOT_KERNEL = errors.KernelResponseError("", status_code=200)

# For each outcome of an attempt: did the server provably not act; may it have acted; is a GET, PATCH or DELETE
# resent; is a POST /invocations resent.
OUTCOMES = [
    # outcome                                          refused  acted   GET...  POST
    pytest.param(http(400), False, False, False, False, id="400"),
    pytest.param(http(401), False, False, False, False, id="401"),
    pytest.param(http(403), False, False, False, False, id="403"),
    pytest.param(http(404), False, False, False, False, id="404"),
    pytest.param(http(404, 5), False, False, False, False, id="404 + Retry-After"),
    pytest.param(http(405), False, False, False, False, id="405"),
    pytest.param(http(408), False, True, True, False, id="408"),
    pytest.param(http(409), False, False, False, False, id="409"),
    pytest.param(http(422), False, False, False, False, id="422"),
    pytest.param(http(425), False, True, True, False, id="425"),
    pytest.param(http(429), True, False, True, True, id="429"),
    pytest.param(http(429, 90), True, False, True, True, id="429 + Retry-After"),
    pytest.param(http(500), False, True, True, False, id="500"),
    pytest.param(http(500, 5), False, True, True, False, id="500 + Retry-After"),
    pytest.param(http(501), False, True, False, False, id="501"),
    pytest.param(http(502), False, True, True, False, id="502"),
    pytest.param(http(502, 5), False, True, True, False, id="502 + Retry-After"),
    pytest.param(http(503), False, True, True, False, id="503"),
    pytest.param(http(503, 0), True, False, True, True, id="503 + Retry-After: 0"),
    pytest.param(http(503, 5), True, False, True, True, id="503 + Retry-After"),
    pytest.param(http(503, "soon"), False, True, True, False, id="503 + garbage"),
    pytest.param(http(504), False, True, True, False, id="504"),
    pytest.param(http(505), False, True, False, False, id="505"),
    *(pytest.param(http(status), False, True, True, False, id=str(status)) for status in (520, 521, 525, 530, 598)),
    pytest.param(http(529), True, False, True, True, id="529"),
    pytest.param(NOT_RESOLVED, True, False, True, True, id="name not resolved"),
    pytest.param(REFUSED, True, False, True, True, id="connection refused"),
    pytest.param(TLS, True, False, False, False, id="TLS"),
    pytest.param(RESET, False, True, True, False, id="reset"),
    pytest.param(CONNECT_TIMEOUT, True, False, True, True, id="connect timeout"),
    pytest.param(READ_TIMEOUT, False, True, True, False, id="read timeout"),
    pytest.param(NOT_KERNEL, False, True, False, False, id="not the API's answer"),
    pytest.param(errors.KernelConfigurationError(), False, False, False, False, id="bad setting"),
    pytest.param(errors.KernelInputError(), False, False, False, False, id="bad argument"),
    pytest.param(ValueError(), False, False, False, False, id="a bug"),
    pytest.param(KeyboardInterrupt(), False, False, False, False, id="interrupt"),
]


@pytest.mark.parametrize(("error", "refused", "acted", "again", "post_again"), OUTCOMES)
class TestRules:
    def test_error_that_proves_a_refusal(self, error, refused, acted, again, post_again):
        assert was_refused(error) is refused

    def test_error_after_which_the_server_may_have_acted(self, error, refused, acted, again, post_again):
        assert may_have_acted(error) is acted

    def test_get_patch_and_delete_are_resent(self, error, refused, acted, again, post_again):
        assert may_resend(Resend.ALWAYS, error) is again

    def test_post_is_resent_after_a_refusal(self, error, refused, acted, again, post_again):
        assert may_resend(Resend.IF_REFUSED, error) is post_again

    def test_request_with_resend_never_is_not_resent(self, error, refused, acted, again, post_again):
        assert may_resend(Resend.NEVER, error) is False

    def test_post_that_may_have_acted_is_never_resent(self, error, refused, acted, again, post_again):
        assert not (may_have_acted(error) and may_resend(Resend.IF_REFUSED, error))


class Server:
    """Answers with its outcomes in order, and repeats the last one. Only sleeping and serving take time."""

    def __init__(self, monkeypatch, *outcomes, serving=0.0):
        self.outcomes = list(outcomes)
        self.serving = serving
        self.now = 1000.0
        self.calls = 0
        self.slept = []
        monkeypatch.setattr(tenacity, "time", SimpleNamespace(monotonic=lambda: self.now))

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def exchange(self):
        self.calls += 1
        self.now += self.serving
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]

    def run(self, policy, resend=Resend.ALWAYS, logger=None):
        flow = with_retries(Request("GET", "/invocations/abc", str, resend=resend), policy, logger=logger)
        outcome = None
        try:
            while True:
                step = flow.throw(outcome) if isinstance(outcome, Exception) else flow.send(outcome)
                outcome = self.sleep(step.seconds) if isinstance(step, Sleep) else self.exchange()
        except StopIteration as end:
            return end.value


@pytest.fixture
def server(monkeypatch):
    return lambda *outcomes, **options: Server(monkeypatch, *outcomes, **options)


class TestAttempts:
    def test_successful_request_is_sent_once(self, server):
        api = server("fine")
        assert api.run(RetryPolicy()) == "fine"
        assert (api.calls, api.slept) == (1, [])

    def test_request_succeeds_after_failed_attempts(self, server):
        api = server(http(503), READ_TIMEOUT, "fine")
        assert api.run(RetryPolicy()) == "fine"
        assert (api.calls, len(api.slept)) == (3, 2)

    def test_max_attempts_ends_with_the_last_error(self, server):
        last = http(500)
        api = server(http(502), RESET, http(503), last)
        with pytest.raises(errors.KernelServerError) as raised:
            api.run(RetryPolicy(max_attempts=4))
        assert raised.value is last
        assert (api.calls, len(api.slept)) == (4, 3)

    def test_max_attempts_of_1_sends_once(self, server):
        api = server(http(503))
        with pytest.raises(errors.KernelServerError):
            api.run(RetryPolicy(max_attempts=1))
        assert (api.calls, api.slept) == (1, [])

    def test_error_that_forbids_a_resend_ends_the_attempts(self, server):
        api = server(http(500), "fine")
        with pytest.raises(errors.KernelServerError):
            api.run(RetryPolicy(), Resend.IF_REFUSED)
        assert api.calls == 1

    def test_ambiguous_answer_ends_a_row_of_refusals(self, server):
        api = server(http(429), REFUSED, READ_TIMEOUT, "fine")
        with pytest.raises(errors.KernelTimeoutError):
            api.run(RetryPolicy(), Resend.IF_REFUSED)
        assert api.calls == 3


class TestTime:
    def test_max_seconds_ends_the_attempts_before_max_attempts(self, server):
        api = server(http(503), serving=10)
        with pytest.raises(errors.KernelServerError):
            api.run(RetryPolicy(max_attempts=100, max_seconds=60, base_seconds=0))
        assert api.calls == 6
        assert api.now == 1060

    def test_no_attempt_starts_after_max_seconds(self, server):
        api = server(http(503))
        with pytest.raises(errors.KernelServerError):
            api.run(RetryPolicy(max_attempts=1000, max_seconds=30, base_seconds=1, cap_seconds=5))
        assert 5 < api.calls < 1000
        assert sum(api.slept) < 30

    def test_max_seconds_of_0_sends_once(self, server):
        api = server(http(503))
        with pytest.raises(errors.KernelServerError):
            api.run(RetryPolicy(max_seconds=0))
        assert api.calls == 1

    def test_retry_after_beyond_max_seconds_is_not_waited_for(self, server):
        api = server(http(429, 121))
        with pytest.raises(errors.KernelRateLimitError):
            api.run(RetryPolicy(max_seconds=120))
        assert (api.calls, api.slept) == (1, [])

    def test_infinite_retry_after_is_not_waited_for(self, server):
        api = server(http(429, "9" * 400))
        with pytest.raises(errors.KernelRateLimitError):
            api.run(RetryPolicy(max_seconds=86400))
        assert api.slept == []


class TestWaits:
    def waits(self, server, policy, error, attempts):
        api = server(error)
        with pytest.raises(errors.KernelError):
            api.run(policy)
        assert len(api.slept) == attempts - 1
        return api.slept

    def test_waits_are_drawn_from_0_to_a_doubling_limit_up_to_a_cap(self, server):
        policy = RetryPolicy(max_attempts=6, max_seconds=1000, base_seconds=0.5, cap_seconds=6)
        runs = [self.waits(server, policy, http(503), 6) for _ in range(300)]
        for waits, upper in zip(zip(*runs, strict=True), [1, 2, 4, 6, 6], strict=True):
            assert all(0 <= wait <= upper for wait in waits)
            assert min(waits) < 0.1 * upper
            assert max(waits) > 0.9 * upper

    @pytest.mark.parametrize("seconds", [1, 59.5, 61, 100])
    def test_wait_is_retry_after_plus_a_jitter(self, server, seconds):
        policy = RetryPolicy(max_attempts=2, base_seconds=0.5)
        runs = [self.waits(server, policy, http(503, seconds), 2)[0] for _ in range(200)]
        assert all(seconds <= wait <= seconds + 0.5 for wait in runs)
        assert max(runs) - min(runs) > 0.3

    @pytest.mark.parametrize("seconds", [0, "Wed, 21 Oct 2015 07:28:00 GMT", 0.01], ids=str)
    def test_waits_grow_although_the_server_asks_for_next_to_none(self, server, seconds):
        policy = RetryPolicy(max_attempts=6, max_seconds=1000, base_seconds=0.5, cap_seconds=16)
        runs = [self.waits(server, policy, http(503, seconds), 6) for _ in range(300)]
        for waits, upper in zip(zip(*runs, strict=True), [1, 2, 4, 8, 16], strict=True):
            assert max(waits) > 0.9 * upper

    def test_retry_after_may_exceed_the_cap(self, server):
        policy = RetryPolicy(max_attempts=2, cap_seconds=1)
        assert self.waits(server, policy, http(529, 100), 2)[0] >= 100

    def test_retry_after_counts_for_its_own_wait_only(self, server):
        api = server(http(503, 50), http(503), "fine")
        api.run(RetryPolicy(base_seconds=0.5))
        assert api.slept[0] >= 50
        assert api.slept[1] <= 2

    @pytest.mark.parametrize(
        ("asked", "pause"), [(None, 7), (0, 7), (6, 7), (8, 8), (3600, 300)], ids=lambda value: str(value)
    )
    def test_retry_after_makes_a_pause_longer_and_never_shorter(self, asked, pause):
        assert pause_after(http(429, asked), 7, at_most=300) == pause

    @pytest.mark.parametrize("error", [None, RESET, http(503, "-5"), http(503, "soon")], ids=str)
    def test_pause_is_the_growing_one_without_a_usable_retry_after(self, error):
        assert pause_after(error, 7) == 7

    def test_policy_without_waits_does_not_wait(self, server):
        policy = RetryPolicy(max_attempts=3, base_seconds=0)
        assert self.waits(server, policy, http(503), 3) == [0, 0]
        assert self.waits(server, policy, http(503, 3), 3) == [3, 3]

    def test_waits_of_very_many_attempts_do_not_overflow(self, server):
        policy = RetryPolicy(max_attempts=2000, max_seconds=1e9, cap_seconds=1)
        assert max(self.waits(server, policy, http(503), 2000)) <= 1


class TestLog:
    def test_each_retry_is_logged_with_request_error_and_wait(self, server, caplog):
        api = server(http(503, 2), RESET, "fine")
        api.run(RetryPolicy(base_seconds=0), logger=logging.getLogger("test"))
        assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
            (
                "WARNING",
                "GET /invocations/abc: 503: (no readable text); attempt 1 of at most 5, next one in 2.0 s",
            ),
            ("WARNING", f"GET /invocations/abc: {RESET}; attempt 2 of at most 5, next one in 0.0 s"),
        ]

    def test_last_failure_is_not_logged_as_a_retry(self, server, caplog):
        with pytest.raises(errors.KernelServerError):
            server(http(503)).run(RetryPolicy(max_attempts=1), logger=logging.getLogger("test"))
        with pytest.raises(errors.KernelNotFoundError):
            server(http(404)).run(RetryPolicy(), logger=logging.getLogger("test"))
        assert caplog.records == []

    def test_retries_without_a_logger_are_not_logged(self, server, caplog):
        server(http(503), "fine").run(RetryPolicy(), logger=None)
        assert caplog.records == []


class TestPolicy:
    @pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, "5", True, None, math.inf], ids=repr)
    def test_max_attempts_is_a_whole_number_from_1(self, value):
        with pytest.raises(KernelConfigurationError) as raised:
            RetryPolicy(max_attempts=value)
        assert str(raised.value) == f"max_attempts is {value!r}; it takes a whole number from 1"

    @pytest.mark.parametrize("name", ["max_seconds", "base_seconds", "cap_seconds"])
    @pytest.mark.parametrize("value", [-0.1, math.inf, math.nan, "5", True, None], ids=repr)
    def test_seconds_of_a_policy_are_a_number_from_0(self, name, value):
        with pytest.raises(KernelConfigurationError) as raised:
            RetryPolicy(**{name: value})
        assert str(raised.value) == f"{name} is {value!r}; it takes a number of seconds from 0"

    def test_default_policy_gives_up_within_two_minutes(self):
        assert RetryPolicy() == RetryPolicy(max_attempts=5, max_seconds=120, base_seconds=0.5, cap_seconds=20)

    def test_smallest_numbers_of_a_policy_are_accepted(self):
        assert RetryPolicy(max_attempts=1, max_seconds=0, base_seconds=0, cap_seconds=0).max_attempts == 1
