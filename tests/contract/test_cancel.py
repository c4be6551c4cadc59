"""Cancelling ends the run and its browsers, and never takes away a result."""

from __future__ import annotations

import pytest
from contract import troubles

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.testing import Fault

REASON = "the task was cleared"


@pytest.fixture
def browsing(client, kernel_emulator, sent):
    """An invocation with two browsers that only a DELETE ends."""
    kernel_emulator.switches.patch_failed_ends_browsers = False
    kernel_emulator.switches.run_end_ends_browsers = False
    started = client.send(requests.create_invocation("demo", "browsers", payload={"count": 2, "seconds": 3600}))
    kernel_emulator.wait_until(lambda: kernel_emulator.invocation(started.id).browsers == 2)
    sent.from_now()
    return started.id


class TestAnActiveInvocation:
    def test_cancel_fails_the_invocation_with_the_reason_and_ends_its_browsers(
        self, client, kernel_emulator, browsing, sent
    ):
        done = client.run(flows.cancel_invocation(browsing, REASON))
        record = kernel_emulator.invocation(browsing)
        assert (record.status, record.output_json, record.browsers) == ("failed", {"error": REASON}, 0)
        assert sent() == ["GET", "PATCH", "DELETE"]
        assert (done.was_over, done.browsers_error) == (False, None)
        assert (done.invocation.id, done.invocation.status) == (browsing, "failed")
        assert [line for _, line in done.report()] == [f"Invocation {browsing} was cancelled; it is now failed"]

    def test_cancel_of_a_queued_invocation(self, client, kernel_emulator, sent):
        kernel_emulator.switches.queue_seconds = float("inf")
        queued = client.send(requests.create_invocation("demo", "echo")).id
        sent.from_now()
        client.run(flows.cancel_invocation(queued, REASON))
        assert kernel_emulator.invocation(queued).statuses == ("queued", "failed")
        assert sent() == ["GET", "PATCH", "DELETE"]

    @pytest.mark.parametrize("trouble", troubles.ALL)
    def test_cancel_gets_through_trouble_with_each_request(self, connect, kernel_emulator, browsing, sent, trouble):
        client = connect(kernel_emulator, read_timeout=troubles.read_timeout(trouble))
        faults = [
            kernel_emulator.add_fault(troubles.fault_of(trouble, method, path, 1))
            for method, path in (
                ("GET", "/invocations/*"),
                ("PATCH", "/invocations/*"),
                ("DELETE", "/invocations/*/browsers"),
            )
            if (trouble, method) != ("body cut off", "DELETE")  # a 204 has none
        ]
        done = client.run(flows.cancel_invocation(browsing, REASON))
        for fault in faults:
            fault.release()
        record = kernel_emulator.invocation(browsing)
        assert (record.status, record.output_json, record.browsers) == ("failed", {"error": REASON}, 0)
        assert done.invocation.status == "failed"
        deletions = 1 if trouble == "body cut off" else 2
        assert sent() == ["GET"] * 2 + ["PATCH"] * 2 + ["DELETE"] * deletions


class TestAnInvocationThatEnded:
    def test_cancel_leaves_a_succeeded_invocation_alone(self, client, kernel_emulator, browsing, sent):
        # Even by an API that would overwrite it.
        kernel_emulator.switches.patch_on_finished = "overwrite"
        before = kernel_emulator.finish(browsing, "succeeded", {"bought": 1})
        done = client.run(flows.cancel_invocation(browsing, REASON))
        assert sent() == ["GET"]
        assert done.was_over
        assert (done.invocation.status, done.invocation.parsed_output()) == ("succeeded", {"bought": 1})
        assert kernel_emulator.invocation(browsing) == before

    def test_cancel_of_a_failed_invocation_keeps_its_error_and_ends_its_browsers(
        self, client, kernel_emulator, browsing, sent
    ):
        kernel_emulator.switches.patch_on_finished = "overwrite"
        kernel_emulator.finish(browsing, "failed", {"error": "of its own"})
        done = client.run(flows.cancel_invocation(browsing, REASON))
        assert sent() == ["GET", "DELETE"]
        assert (done.was_over, done.invocation.status) == (True, "failed")
        record = kernel_emulator.invocation(browsing)
        assert (record.output_json, record.browsers) == ({"error": "of its own"}, 0)

    @pytest.mark.parametrize("patch_on_finished", ["unchanged", 400, 404, 409])
    def test_cancel_leaves_an_invocation_that_succeeds_between_get_and_patch(
        self, client, kernel_emulator, browsing, sent, patch_on_finished
    ):
        kernel_emulator.switches.patch_on_finished = patch_on_finished
        before = kernel_emulator.finish(browsing, "succeeded", {"bought": 1})
        # What the look saw a moment ago.
        kernel_emulator.add_fault(
            Fault("GET", "/invocations/*", 1, status=200, body={"id": browsing, "status": "running"})
        )
        done = client.run(flows.cancel_invocation(browsing, REASON))
        assert (done.was_over, done.invocation.status) == (True, "succeeded")
        assert kernel_emulator.invocation(browsing) == before
        assert "DELETE" not in sent()

    def test_cancel_of_an_unknown_invocation_stops_at_not_found(self, client, kernel_emulator, sent):
        with pytest.raises(errors.KernelNotFoundError):
            client.run(flows.cancel_invocation("nobody", REASON))
        assert sent() == ["GET"]


class TestWhenARequestKeepsFailing:
    def test_cancel_ends_the_browsers_when_the_patch_keeps_failing(self, client, kernel_emulator, browsing, sent):
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", None, status=500))
        with pytest.raises(errors.KernelServerError) as caught:
            client.run(flows.cancel_invocation(browsing, REASON))
        assert caught.value.request == f"PATCH /invocations/{browsing}"
        assert sent() == ["GET", *["PATCH"] * 5, "DELETE"]
        record = kernel_emulator.invocation(browsing)
        assert (record.status, record.browsers) == ("running", 0)

    @pytest.mark.parametrize("status", [400, 403, 409])
    def test_cancel_ends_the_browsers_when_the_patch_is_refused(
        self, client, kernel_emulator, browsing, sent, status
    ):
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", None, status=status))
        with pytest.raises(errors.KernelAPIError) as caught:
            client.run(flows.cancel_invocation(browsing, REASON))
        assert caught.value.status_code == status
        assert sent()[-1] == "DELETE"
        assert kernel_emulator.invocation(browsing).browsers == 0

    @pytest.mark.parametrize(
        "failing",
        [
            {"status": 500},
            {"status": 400},
            {"status": 404, "body": troubles.ERROR_PAGE},
            {"drop": "before"},
            {"status": 200, "body": troubles.ERROR_PAGE},
        ],
        ids=str,
    )
    def test_cancel_goes_on_when_the_state_cannot_be_fetched(
        self, client, kernel_emulator, browsing, sent, failing
    ):
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", None, **failing))
        done = client.run(flows.cancel_invocation(browsing, REASON))
        assert not done.was_over
        assert sent()[-2:] == ["PATCH", "DELETE"]
        record = kernel_emulator.invocation(browsing)
        assert (record.status, record.output_json, record.browsers) == ("failed", {"error": REASON}, 0)

    def test_cancel_reports_browsers_that_cannot_be_ended_and_succeeds(
        self, client, kernel_emulator, browsing, sent
    ):
        kernel_emulator.add_fault(Fault("DELETE", "/invocations/*/browsers", None, status=500))
        done = client.run(flows.cancel_invocation(browsing, REASON))
        assert (done.was_over, done.invocation.status) == (False, "failed")
        assert isinstance(done.browsers_error, errors.KernelServerError)
        assert "may live on" in [line for _, line in done.report()][-1]
        assert sent() == ["GET", "PATCH", *["DELETE"] * 5]

    def test_cancel_takes_a_404_for_the_browsers_as_none_left(self, client, kernel_emulator, browsing):
        kernel_emulator.add_fault(Fault("DELETE", "/invocations/*/browsers", None, status=404))
        assert client.run(flows.cancel_invocation(browsing, REASON)).browsers_error is None

    def test_cancel_with_a_wrong_key_stops_after_one_request(self, connect, kernel_emulator, browsing, sent):
        with pytest.raises(errors.KernelAuthenticationError):
            connect(kernel_emulator, api_key="sk-wrong").run(flows.cancel_invocation(browsing, REASON))
        assert sent() == ["GET"]


class TestInHaste:
    def test_urgent_cancel_fetches_the_state_once_and_retries_the_rest(
        self, client, kernel_emulator, browsing, sent
    ):
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", None, status=503))
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", (1, 2), status=503))
        client.run(flows.cancel_invocation(browsing, REASON, urgent=True))
        assert sent() == ["GET", "PATCH", "PATCH", "PATCH", "DELETE"]
        assert kernel_emulator.invocation(browsing).status == "failed"
