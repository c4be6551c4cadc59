from __future__ import annotations

import copy
import pickle

import pytest

from airflow_provider_kernel import client
from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.destination import ConnectionProblem
from airflow_provider_kernel.client.resources.browsers.errors import (
    KernelBrowserGoneError,
    KernelBrowserLimitError,
    KernelCommandTimeoutError,
    KernelScriptError,
)
from airflow_provider_kernel.client.resources.browsers.models import BrowserSession, ScriptResult
from airflow_provider_kernel.client.resources.invocations.errors import (
    KernelInvocationFailedError,
    KernelInvocationFinishedError,
    KernelInvocationTimeoutError,
    KernelOutputError,
    KernelOutputTooLargeError,
)
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.retry import Attempts

FINISHED = Invocation(
    id="abc",
    status="failed",
    app_name="shop",
    action_name="buy",
    finished_at="2026-01-01T00:00:00Z",
    status_reason="ran out of memory",
    output='{"card": "4111"}',
    payload='{"password": "hunter2"}',
)

ONE_OF_EACH = [
    errors.KernelError("it broke"),
    errors.KernelConfigurationError("a bad setting"),
    errors.KernelConfigurationUnavailableError("a vault that is down"),
    errors.KernelInputError("a bad argument"),
    errors.KernelConnectionError("cut", sent=False, problem=ConnectionProblem.REFUSED),
    errors.KernelTimeoutError("slow", sent=False),
    errors.KernelResponseError("HTML", status_code=200),
    errors.KernelResponseTooLargeError("the body is large", status_code=200),
    errors.KernelRowTooLargeError("rows are large"),
    *(
        kind(
            "no",
            status_code=418,
            code="teapot",
            details=[("a", "b"), (None, "c")],
            retry_after=3.5,
            request_id="req_1",
        )
        for kind in (
            errors.KernelAPIError,
            errors.KernelBadRequestError,
            errors.KernelAuthenticationError,
            errors.KernelPermissionError,
            errors.KernelNotFoundError,
            errors.KernelConflictError,
            errors.KernelRateLimitError,
            errors.KernelServerError,
        )
    ),
    KernelInvocationFinishedError(FINISHED, "succeeded"),
    KernelInvocationFailedError(FINISHED),
    KernelInvocationTimeoutError("too long"),
    errors.KernelTaskKilledError("killed"),
    errors.KernelLostContactError("lost contact"),
    errors.KernelAmbiguousStartError("unknown"),
    KernelOutputError("no"),
    KernelOutputTooLargeError("too large"),
    KernelBrowserGoneError("s1", BrowserSession(session_id="s1", deleted_at="2026-01-01T00:00:00Z")),
    KernelBrowserLimitError("no place", used=5, allowed=5),
    KernelCommandTimeoutError("too long"),
    KernelScriptError(ScriptResult(success=False, error="it threw", stderr="stack")),
]


def all_kinds(root=errors.KernelError):
    return {root}.union(
        *(all_kinds(kind) for kind in root.__subclasses__() if kind.__module__.startswith(client.__name__))
    )


def test_one_of_each_holds_every_error_class():
    assert {type(error) for error in ONE_OF_EACH} == all_kinds()


class TestCopies:
    """Airflow sends errors between processes: triggerer, worker, supervisor."""

    @pytest.fixture(params=ONE_OF_EACH, ids=lambda error: type(error).__name__)
    def error(self, request):
        error = copy.deepcopy(request.param)
        error.request = "PATCH /invocations/abc"
        error.attempts = Attempts(3, 4.25)
        return error

    def test_pickled_error_keeps_everything(self, error):
        copied = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
        assert type(copied) is type(error)
        assert str(copied) == str(error)
        assert vars(copied) == vars(error)
        assert copied.args == error.args
        assert copied.permanent == error.permanent

    def test_copied_error_keeps_everything(self, error):
        copied = copy.copy(error)
        assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))
        assert str(copy.copy(copied)) == str(error)


class TestPermanent:
    """Whether a task fails at once, or uses its retries."""

    @pytest.mark.parametrize(
        ("kind", "permanent"),
        [
            (errors.KernelError, False),
            (errors.KernelConfigurationError, True),
            (errors.KernelConfigurationUnavailableError, False),
            (errors.KernelInputError, True),
            (errors.KernelConnectionError, False),
            (errors.KernelTimeoutError, False),
            (errors.KernelResponseError, False),
            (errors.KernelResponseTooLargeError, False),
            (errors.KernelRowTooLargeError, False),
            (errors.KernelAPIError, False),
            (errors.KernelBadRequestError, True),
            (errors.KernelAuthenticationError, True),
            (errors.KernelPermissionError, True),
            (errors.KernelNotFoundError, True),
            (errors.KernelConflictError, True),
            (errors.KernelRateLimitError, False),
            (errors.KernelServerError, False),
            (KernelInvocationFinishedError, True),
            (KernelInvocationFailedError, False),
            (KernelInvocationTimeoutError, False),
            (errors.KernelTaskKilledError, False),
            (errors.KernelLostContactError, False),
            (errors.KernelAmbiguousStartError, True),
            (KernelOutputError, True),
            (KernelOutputTooLargeError, True),
            (KernelBrowserGoneError, False),
            (KernelBrowserLimitError, False),
            (KernelCommandTimeoutError, False),
            (KernelScriptError, False),
        ],
    )
    def test_permanent_flag_of_each_error_class(self, kind, permanent):
        assert kind.permanent is permanent

    def test_every_error_class_has_its_permanent_flag_tested(self):
        mark = next(
            mark for mark in self.test_permanent_flag_of_each_error_class.pytestmark if mark.name == "parametrize"
        )
        assert {kind for kind, _ in mark.args[1]} == all_kinds()


class TestText:
    def test_error_text_is_the_message_alone_by_default(self):
        assert str(errors.KernelError("it broke")) == "it broke"

    def test_error_without_a_message_has_an_empty_text(self):
        assert str(errors.KernelError()) == ""

    def test_error_text_has_request_answer_attempts_and_advice(self):
        error = errors.KernelRateLimitError("slow down", status_code=429, code="rate_limited", request_id="req_1")
        error.request = "POST /invocations"
        error.attempts = Attempts(5, 61.23)
        assert str(error) == (
            "POST /invocations: 429 rate_limited: slow down (request req_1) (5 attempts in 61.2 s). "
            "Give the tasks an Airflow pool no larger than the plan's limit of concurrent invocations"
        )

    @pytest.mark.parametrize(
        ("attempts", "text"),
        [(Attempts(1, 0.04), "1 attempt in 0.0 s"), (Attempts(2, 12.0), "2 attempts in 12.0 s")],
        ids=["one", "more"],
    )
    def test_text_of_attempts(self, attempts, text):
        assert str(attempts) == text

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"status_code": 418}, "418"),
            ({"message": "no", "status_code": 418}, "418: no"),
            ({"message": "no", "status_code": 418, "code": "teapot"}, "418 teapot: no"),
            ({"status_code": 418, "code": "teapot"}, "418 teapot"),
            (
                {"message": "no", "status_code": 418, "details": [("a", "b"), (None, "c"), ("d", None)]},
                "418: no [a: b] [c] [d]",
            ),
            ({"message": "no", "status_code": 418, "request_id": "req_1"}, "418: no (request req_1)"),
        ],
    )
    def test_text_of_an_api_error(self, arguments, text):
        assert str(errors.KernelAPIError(**arguments)) == text

    @pytest.mark.parametrize("problem", ConnectionProblem)
    def test_each_connection_problem_has_its_advice(self, problem):
        error = errors.KernelConnectionError("no answer", problem=problem)
        assert str(error) == f"no answer. {problem.value}"

    def test_timeout_advises_to_raise_the_timeouts(self):
        error = errors.KernelTimeoutError("no answer")
        assert error.problem is ConnectionProblem.TIMEOUT
        assert "raise read_timeout" in str(error)

    @pytest.mark.parametrize("kind", [errors.KernelConnectionError, errors.KernelTimeoutError])
    def test_lost_request_counts_as_sent_by_default(self, kind):
        assert kind("lost").sent is True
        assert kind("lost", sent=False).sent is False

    def test_ambiguous_start_says_that_an_invocation_may_be_running(self):
        assert "It MAY be running" in str(errors.KernelAmbiguousStartError("unknown"))


class TestInvocationErrors:
    def test_failed_error_names_the_invocation_and_the_reason(self):
        error = KernelInvocationFailedError(FINISHED)
        assert str(error) == "Invocation abc of shop/buy failed: ran out of memory"
        assert error.invocation is FINISHED

    def test_failed_error_without_a_reason_or_names(self):
        error = KernelInvocationFailedError(Invocation(id="abc", status="failed"))
        assert str(error) == "Invocation abc of ? failed: the API gives no reason"

    def test_finished_error_names_status_time_and_requested_status(self):
        error = KernelInvocationFinishedError(FINISHED, "succeeded")
        assert str(error) == (
            "Invocation abc had already ended as failed at 2026-01-01T00:00:00Z; it cannot become succeeded"
        )
        assert (error.invocation, error.asked_for) == (FINISHED, "succeeded")

    def test_finished_error_without_a_time(self):
        error = KernelInvocationFinishedError(Invocation(id="abc", status="failed"), "succeeded")
        assert str(error) == "Invocation abc had already ended as failed; it cannot become succeeded"

    @pytest.mark.parametrize(
        "error",
        [KernelInvocationFailedError(FINISHED), KernelInvocationFinishedError(FINISHED, "succeeded")],
        ids=lambda error: type(error).__name__,
    )
    def test_invocation_errors_show_neither_payload_nor_output(self, error):
        shown = f"{error!s}{error!r}{error.invocation!r}"
        assert "4111" not in shown
        assert "hunter2" not in shown


@pytest.mark.parametrize("kind", [errors.KernelConfigurationError, errors.KernelInputError])
def test_error_before_sending_is_a_value_error_too(kind):
    assert issubclass(kind, ValueError)


def test_status_reason_becomes_one_bounded_line():
    failed = KernelInvocationFailedError(Invocation(id="x", status="failed", status_reason="a\nb\x1b" + "c" * 999))
    assert "failed: a b c" in str(failed)
    assert "\n" not in str(failed)
    assert len(str(failed)) < 400
