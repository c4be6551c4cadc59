from __future__ import annotations

import json
import logging

import pytest

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.response import Response, error_from
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.retry import Resend

GET = "GET /invocations/abc"
PATCH = "PATCH /invocations/abc"
DELETE = "DELETE /invocations/abc/browsers"

READ_TIMEOUT = errors.KernelTimeoutError("no answer in time")
REFUSED = errors.KernelConnectionError("refused", sent=False)
RESET = errors.KernelConnectionError("reset")
NOT_KERNEL = errors.KernelResponseError("HTML", status_code=200)


def http(status, **headers):
    return error_from(Response(status, headers, b'{"code": "c", "message": "m"}'))


def state(status):
    return Invocation(id="abc", status=status)


def drive(flow, *script):
    """
    Carry out a flow as a client does, with the answers of a script.

    :param script: pairs of the request that is expected, by name, and its answer or error.
    :return: the flow's result and the requests as they were made.
    """
    sent = []
    script = list(script)
    outcome = None
    try:
        while True:
            request = flow.throw(outcome) if isinstance(outcome, Exception) else flow.send(outcome)
            sent.append(request)
            assert script, f"{request} was sent, although nothing more should be"
            expected, outcome = script.pop(0)
            assert str(request) == expected
    except StopIteration as end:
        assert not script, f"{script[0][0]} was not sent"
        return end.value, sent
    except errors.KernelError:
        assert not script, f"{script[0][0]} was not sent"
        raise


def body(request):
    return json.loads(request.body)


class TestStart:
    REQUEST = requests.create_invocation("shop", "buy")

    def test_start_is_one_request_and_its_answer(self):
        started, sent = drive(flows.start_invocation(self.REQUEST), ("POST /invocations", state("queued")))
        assert started.id == "abc"
        assert sent == [self.REQUEST]

    @pytest.mark.parametrize(
        "error",
        [
            *(http(status) for status in (400, 401, 403, 404, 409, 422, 429, 529)),
            http(503, **{"retry-after": "5"}),
            REFUSED,
            errors.KernelTimeoutError("no connection", sent=False),
        ],
        ids=str,
    )
    def test_refused_start_raises_the_refusal(self, error):
        with pytest.raises(type(error)) as raised:
            drive(flows.start_invocation(self.REQUEST), ("POST /invocations", error))
        assert raised.value is error

    @pytest.mark.parametrize(
        "error",
        [*(http(status) for status in (408, 425, 500, 502, 503, 504)), READ_TIMEOUT, RESET, NOT_KERNEL],
        ids=str,
    )
    def test_start_without_a_usable_answer_is_ambiguous_and_not_resent(self, error):
        with pytest.raises(errors.KernelAmbiguousStartError) as raised:
            drive(flows.start_invocation(self.REQUEST), ("POST /invocations", error))
        assert raised.value.__cause__ is error
        assert str(raised.value).startswith(f"Whether the invocation was started is unknown: {error}")


class TestUpdate:
    def update(self, *script, status="succeeded", output=None):
        return drive(flows.update_invocation("abc", status, output), *script)

    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    def test_update_is_one_request_and_its_answer(self, status):
        updated, sent = self.update((PATCH, state(status)), status=status, output={"a": 1})
        assert updated.status == status
        assert body(sent[0]) == {"status": status, "output": '{"a": 1}'}

    def test_update_without_output_sends_none(self):
        _, sent = drive(flows.update_invocation("abc", "failed"), (PATCH, state("failed")))
        assert body(sent[0]) == {"status": "failed"}

    def test_update_with_an_invalid_argument_is_refused_before_anything_is_sent(self):
        with pytest.raises(errors.KernelInputError):
            drive(flows.update_invocation("abc", "running"))

    @pytest.mark.parametrize("status", [400, 404, 409, 422])
    def test_refused_update_is_a_success_if_the_status_is_the_requested_one(self, status):
        updated, _ = self.update((PATCH, http(status)), (GET, state("succeeded")))
        assert updated.status == "succeeded"

    @pytest.mark.parametrize("status", [400, 404, 409])
    def test_refused_update_of_an_ended_invocation_names_its_status(self, status):
        refusal = http(status)
        with pytest.raises(KernelInvocationFinishedError) as raised:
            self.update((PATCH, refusal), (GET, state("failed")))
        assert raised.value.invocation.status == "failed"
        assert raised.value.asked_for == "succeeded"
        assert raised.value.__cause__ is refusal

    @pytest.mark.parametrize("now", ["running", "queued", "paused"])
    @pytest.mark.parametrize("status", [400, 404, 409])
    def test_refused_update_of_an_active_invocation_raises_the_refusal(self, status, now):
        refusal = http(status)
        with pytest.raises(type(refusal)) as raised:
            self.update((PATCH, refusal), (GET, state(now)))
        assert raised.value is refusal

    @pytest.mark.parametrize("fetch", [http(404), http(500), READ_TIMEOUT, NOT_KERNEL], ids=str)
    def test_refused_update_raises_the_refusal_if_the_fetch_fails(self, fetch):
        refusal = http(400)
        with pytest.raises(errors.KernelBadRequestError) as raised:
            self.update((PATCH, refusal), (GET, fetch))
        assert raised.value is refusal

    @pytest.mark.parametrize(
        "error", [http(401), http(403), http(429), http(500), READ_TIMEOUT, REFUSED, NOT_KERNEL], ids=str
    )
    def test_other_error_of_an_update_is_raised_without_a_fetch(self, error):
        with pytest.raises(type(error)) as raised:
            self.update((PATCH, error))
        assert raised.value is error

    def test_update_answered_with_the_other_final_status_is_an_error(self):
        with pytest.raises(KernelInvocationFinishedError):
            self.update((PATCH, state("failed")))

    def test_update_answered_with_an_active_status_is_a_success(self):
        updated, _ = self.update((PATCH, state("running")))
        assert updated.status == "running"


def test_update_to_failed_is_done_by_any_end_but_a_success():
    ended = Invocation(id="abc", status="cancelled", finished_at="2026-01-01T00:00:00Z")
    assert drive(flows.update_invocation("abc", "failed"), (PATCH, ended))[0] is ended
    with pytest.raises(KernelInvocationFinishedError, match="ended as cancelled"):
        drive(flows.update_invocation("abc", "succeeded"), (PATCH, ended))


class TestAnswer:
    def test_answer_fetches_first_and_sends_the_output(self):
        result, sent = drive(
            flows.answer_invocation("abc", {"a": 1}), (GET, state("running")), (PATCH, state("succeeded"))
        )
        assert result.status == "succeeded"
        assert body(sent[-1]) == {"status": "succeeded", "output": '{"a": 1}'}

    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    def test_answer_leaves_an_ended_invocation(self, status):
        with pytest.raises(KernelInvocationFinishedError, match=f"already ended as {status}"):
            drive(flows.answer_invocation("abc", 1), (GET, state(status)))

    def test_answer_that_is_refused_when_resent_is_a_success(self):
        result, _ = drive(
            flows.answer_invocation("abc", 1),
            (GET, state("running")),
            (PATCH, http(400)),
            (GET, state("succeeded")),
        )
        assert result.status == "succeeded"


class TestCancel:
    def cancel(self, *script, **options):
        return drive(flows.cancel_invocation("abc", "the task was killed", **options), *script)

    @pytest.mark.parametrize("now", ["queued", "running", "paused"])
    def test_cancel_fails_an_active_invocation_and_ends_its_browsers(self, now):
        cancellation, sent = self.cancel((GET, state(now)), (PATCH, state("failed")), (DELETE, None))
        assert cancellation == flows.Cancellation(state("failed"), was_over=False, browsers_error=None)
        assert body(sent[1]) == {"status": "failed", "output": '{"error": "the task was killed"}'}

    def test_cancel_writes_reason_and_details_into_the_output(self):
        _, sent = drive(
            flows.cancel_invocation("abc", "why", details={"traceback": "t"}),
            (GET, state("running")),
            (PATCH, state("failed")),
            (DELETE, None),
        )
        assert json.loads(body(sent[1])["output"]) == {"error": "why", "traceback": "t"}

    def test_cancel_leaves_a_succeeded_invocation(self):
        cancellation, _ = self.cancel((GET, state("succeeded")))
        assert cancellation == flows.Cancellation(state("succeeded"), was_over=True)

    def test_cancel_of_a_failed_invocation_ends_its_browsers_only(self):
        cancellation, _ = self.cancel((GET, state("failed")), (DELETE, None))
        assert cancellation == flows.Cancellation(state("failed"), was_over=True)

    @pytest.mark.parametrize(
        "fetch", [http(400), http(429), http(500), READ_TIMEOUT, REFUSED, RESET, NOT_KERNEL], ids=str
    )
    def test_cancel_goes_on_after_an_error_of_the_fetch(self, fetch):
        cancellation, _ = self.cancel((GET, fetch), (PATCH, state("failed")), (DELETE, None))
        assert cancellation == flows.Cancellation(state("failed"), was_over=False)

    @pytest.mark.parametrize("fetch", [http(401), http(403), http(404)], ids=str)
    def test_cancel_raises_a_refused_key_and_an_absent_invocation(self, fetch):
        with pytest.raises(type(fetch)) as raised:
            self.cancel((GET, fetch))
        assert raised.value is fetch

    @pytest.mark.parametrize("error", [http(401), http(429), http(500), READ_TIMEOUT, REFUSED, NOT_KERNEL], ids=str)
    @pytest.mark.parametrize("browsers", [None, http(404), http(500)], ids=["204", "404", "500"])
    def test_failed_cancel_ends_the_browsers(self, error, browsers):
        with pytest.raises(type(error)) as raised:
            self.cancel((GET, state("running")), (PATCH, error), (DELETE, browsers))
        assert raised.value is error

    def test_refused_cancel_is_raised_and_ends_the_browsers(self):
        refusal = http(400)
        with pytest.raises(errors.KernelBadRequestError) as raised:
            self.cancel((GET, state("running")), (PATCH, refusal), (GET, state("running")), (DELETE, None))
        assert raised.value is refusal

    def test_cancel_of_an_invocation_that_succeeds_meanwhile_reports_it(self):
        cancellation, _ = self.cancel((GET, state("running")), (PATCH, http(409)), (GET, state("succeeded")))
        assert cancellation == flows.Cancellation(state("succeeded"), was_over=True)

    def test_cancel_answered_with_a_success_reports_it(self):
        cancellation, _ = self.cancel((GET, state("running")), (PATCH, state("succeeded")))
        assert cancellation == flows.Cancellation(state("succeeded"), was_over=True)

    def test_cancel_of_an_invocation_that_succeeded_unseen_reports_it(self):
        cancellation, _ = self.cancel((GET, RESET), (PATCH, http(400)), (GET, state("succeeded")))
        assert cancellation == flows.Cancellation(state("succeeded"), was_over=True)

    def test_cancel_of_an_invocation_that_fails_meanwhile_is_a_success(self):
        cancellation, _ = self.cancel(
            (GET, state("running")), (PATCH, http(404)), (GET, state("failed")), (DELETE, None)
        )
        assert cancellation.invocation.status == "failed"

    @pytest.mark.parametrize("before", ["running", "failed"])
    def test_cancel_without_browsers_is_a_success(self, before):
        patch = [(PATCH, state("failed"))] if before == "running" else []
        cancellation, _ = self.cancel((GET, state(before)), *patch, (DELETE, http(404)))
        assert cancellation.browsers_error is None

    @pytest.mark.parametrize("error", [http(403), http(500), READ_TIMEOUT], ids=str)
    def test_cancel_reports_browsers_that_could_not_be_ended(self, error):
        cancellation, _ = self.cancel((GET, state("running")), (PATCH, state("failed")), (DELETE, error))
        assert cancellation.invocation.status == "failed"
        assert cancellation.browsers_error is error

    @pytest.mark.parametrize(
        ("options", "resend"),
        [({}, Resend.ALWAYS), ({"urgent": False}, Resend.ALWAYS), ({"urgent": True}, Resend.NEVER)],
        ids=["by default", "not urgent", "urgent"],
    )
    def test_urgent_cancel_limits_the_fetch_to_one_attempt(self, options, resend):
        _, sent = self.cancel((GET, state("running")), (PATCH, state("failed")), (DELETE, None), **options)
        assert [request.resend for request in sent] == [resend, Resend.ALWAYS, Resend.ALWAYS]

    def test_cancel_of_an_invalid_id_is_refused_before_anything_is_sent(self):
        with pytest.raises(errors.KernelInputError):
            drive(flows.cancel_invocation("None", "why"))


class TestReport:
    @pytest.mark.parametrize(
        ("cancellation", "lines"),
        [
            (
                flows.Cancellation(state("failed"), was_over=False),
                [(logging.INFO, "Invocation abc was cancelled; it is now failed")],
            ),
            (
                flows.Cancellation(state("succeeded"), was_over=True),
                [(logging.INFO, "Invocation abc had already ended as succeeded")],
            ),
            (
                flows.Cancellation(state("failed"), was_over=False, browsers_error=http(500)),
                [
                    (logging.INFO, "Invocation abc was cancelled; it is now failed"),
                    (
                        logging.WARNING,
                        "The browsers of invocation abc may live on until they time out: 500 c: m",
                    ),
                ],
            ),
        ],
        ids=["cancelled", "over", "browsers"],
    )
    def test_cancellation_is_reported_in_log_lines(self, cancellation, lines):
        assert list(cancellation.report()) == lines
