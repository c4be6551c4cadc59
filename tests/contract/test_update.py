"""Ending an invocation gets through whatever happens on the way, and never claims what is not so."""

from __future__ import annotations

import pytest
from contract import troubles

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.testing import Fault

OUTPUT = {"rows": [1, 2, 3]}
LOST = "dropped after processing"
OTHER = {"failed": "succeeded", "succeeded": "failed"}
KINDS_OF_REFUSAL = {
    400: errors.KernelBadRequestError,
    404: errors.KernelNotFoundError,
    409: errors.KernelConflictError,
}


class TestTroubleOnTheWay:
    @pytest.mark.parametrize(("trouble", "times"), [*((trouble, 1) for trouble in troubles.ALL), ("500", 3)])
    def test_update_is_resent_until_the_first_good_answer(self, connect, kernel_emulator, running, trouble, times):
        client = connect(kernel_emulator, read_timeout=troubles.read_timeout(trouble))
        fault = kernel_emulator.add_fault(troubles.fault_of(trouble, "PATCH", "/invocations/*", times))
        updated = client.run(flows.update_invocation(running, "succeeded", OUTPUT))
        fault.release()

        assert (updated.id, updated.status, updated.parsed_output()) == (running, "succeeded", OUTPUT)
        attempts = kernel_emulator.requests("PATCH")
        assert len(attempts) == times + 1
        assert len({request.body for request in attempts}) == 1
        record = kernel_emulator.invocation(running)
        assert (record.status, record.output_json) == ("succeeded", OUTPUT)
        assert record.statuses.count("succeeded") == 1

    @pytest.mark.parametrize("trouble", [name for name in troubles.ALL if "Retry-After" in name])
    def test_update_waits_as_long_as_retry_after_says(self, client, kernel_emulator, running, trouble):
        kernel_emulator.add_fault(troubles.fault_of(trouble, "PATCH", "/invocations/*", 3))
        client.run(flows.update_invocation(running, "failed"))
        assert len(client.waits) == 3
        assert all(1.0 <= wait < 1.5 for wait in client.waits)

    @pytest.mark.parametrize("trouble", ["500", "dropped before processing", "dropped after processing"])
    def test_update_without_retry_after_waits_as_the_policy_says(self, client, kernel_emulator, running, trouble):
        kernel_emulator.add_fault(troubles.fault_of(trouble, "PATCH", "/invocations/*", 3))
        client.run(flows.update_invocation(running, "failed"))
        assert len(client.waits) == 3
        assert all(0.0 <= wait <= 0.005 for wait in client.waits)

    @pytest.mark.parametrize("trouble", troubles.ALL)
    def test_get_and_browser_delete_are_resent_after_trouble(self, connect, kernel_emulator, running, trouble):
        client = connect(kernel_emulator, read_timeout=troubles.read_timeout(trouble))
        reading = kernel_emulator.add_fault(troubles.fault_of(trouble, "GET", "/invocations/*", 1))
        assert client.send(requests.get_invocation(running)).status == "running"
        assert len(kernel_emulator.requests("GET")) == 2
        reading.release()
        if trouble == "body cut off":
            return  # a 204 has none
        ending = kernel_emulator.add_fault(troubles.fault_of(trouble, "DELETE", "/invocations/*/browsers", 1))
        client.send(requests.delete_invocation_browsers(running))
        assert len(kernel_emulator.requests("DELETE")) == 2
        ending.release()

    def test_update_gets_through_an_outage(self, client, kernel_emulator, running, nothing_listens):
        nothing_listens(3)
        assert client.run(flows.update_invocation(running, "failed", OUTPUT)).status == "failed"
        assert len(client.waits) == 3
        assert len(kernel_emulator.requests("PATCH")) == 1


class TestOwnAnswerLost:
    """The first PATCH worked, its answer got lost, and the second one finds the invocation ended."""

    @pytest.mark.parametrize(
        ("patch_on_finished", "trouble", "status"),
        [
            *(("unchanged", trouble, "failed") for trouble in troubles.LOSSES if troubles.did_it(trouble)),
            *((behaviour, LOST, "succeeded") for behaviour in ("unchanged", "overwrite", 400, 404, 409)),
            (409, LOST, "failed"),
        ],
    )
    def test_update_whose_first_answer_was_lost_succeeds(
        self, connect, kernel_emulator, running, patch_on_finished, trouble, status
    ):
        kernel_emulator.switches.patch_on_finished = patch_on_finished
        client = connect(kernel_emulator, read_timeout=troubles.read_timeout(trouble))
        fault = kernel_emulator.add_fault(troubles.fault_of(trouble, "PATCH", "/invocations/*", 1))
        updated = client.run(flows.update_invocation(running, status, OUTPUT))
        fault.release()
        assert (updated.status, updated.parsed_output()) == (status, OUTPUT)
        record = kernel_emulator.invocation(running)
        assert (record.status, record.output_json) == (status, OUTPUT)
        assert len(kernel_emulator.requests("PATCH")) == 2
        # Only a refusal needs a look at the state: a 200 carries it.
        assert len(kernel_emulator.requests("GET")) == (1 if patch_on_finished in KINDS_OF_REFUSAL else 0)


@pytest.mark.parametrize(
    ("status", "trouble"),
    [("succeeded", None), ("failed", None), ("succeeded", "dropped before processing"), ("failed", LOST)],
)
class TestSomebodyElseEndedIt:
    """The invocation had ended before the first PATCH came, whose answer may get lost on top."""

    @pytest.fixture(autouse=True)
    def lost_answer(self, kernel_emulator, trouble):
        if trouble:
            kernel_emulator.add_fault(troubles.fault_of(trouble, "PATCH", "/invocations/*", 1))

    @pytest.mark.parametrize("patch_on_finished", ["unchanged", 400, 404, 409])
    def test_update_of_an_invocation_that_ended_otherwise_raises_the_true_state(
        self, client, kernel_emulator, running, status, patch_on_finished
    ):
        kernel_emulator.switches.patch_on_finished = patch_on_finished
        before = kernel_emulator.finish(running, OTHER[status], {"by": "somebody else"})
        with pytest.raises(KernelInvocationFinishedError) as caught:
            client.run(flows.update_invocation(running, status, OUTPUT))
        assert caught.value.permanent
        assert caught.value.asked_for == status
        assert (caught.value.invocation.id, caught.value.invocation.status) == (running, OTHER[status])
        assert f"already ended as {OTHER[status]}" in str(caught.value)
        assert kernel_emulator.invocation(running) == before
        cause = KINDS_OF_REFUSAL.get(patch_on_finished)
        assert isinstance(caught.value.__cause__, cause) if cause else caught.value.__cause__ is None

    def test_update_wins_where_the_api_overwrites(self, client, kernel_emulator, running, status):
        kernel_emulator.switches.patch_on_finished = "overwrite"
        kernel_emulator.finish(running, OTHER[status], {"by": "somebody else"})
        assert client.run(flows.update_invocation(running, status, OUTPUT)).status == status
        record = kernel_emulator.invocation(running)
        assert (record.status, record.output_json) == (status, OUTPUT)

    @pytest.mark.parametrize("patch_on_finished", ["unchanged", 400, 404, 409])
    def test_update_of_an_invocation_that_ended_alike_returns_its_output(
        self, client, kernel_emulator, running, status, patch_on_finished
    ):
        kernel_emulator.switches.patch_on_finished = patch_on_finished
        before = kernel_emulator.finish(running, status, {"by": "somebody else"})
        updated = client.run(flows.update_invocation(running, status, OUTPUT))
        assert (updated.status, updated.parsed_output()) == (status, {"by": "somebody else"})
        assert kernel_emulator.invocation(running) == before


class TestRefusalsThatMeanSomethingElse:
    @pytest.mark.parametrize(("refused", "kind"), KINDS_OF_REFUSAL.items())
    def test_update_refused_for_a_running_invocation_raises_the_refusal(
        self, client, kernel_emulator, running, refused, kind
    ):
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", None, status=refused))
        with pytest.raises(kind) as caught:
            client.run(flows.update_invocation(running, "succeeded", OUTPUT))
        assert caught.value.request == f"PATCH /invocations/{running}"
        assert kernel_emulator.invocation(running).status == "running"
        assert (len(kernel_emulator.requests("PATCH")), len(kernel_emulator.requests("GET"))) == (1, 1)

    def test_update_of_an_unknown_invocation_is_not_found(self, client, kernel_emulator):
        with pytest.raises(errors.KernelNotFoundError) as caught:
            client.run(flows.update_invocation("nobody", "succeeded"))
        assert caught.value.request == "PATCH /invocations/nobody"

    @pytest.mark.parametrize("patch_on_finished", [400, 404, 409])
    def test_update_refused_raises_the_refusal_when_the_state_cannot_be_fetched(
        self, client, kernel_emulator, running, patch_on_finished
    ):
        kernel_emulator.switches.patch_on_finished = patch_on_finished
        kernel_emulator.finish(running, "succeeded")
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", None, status=500))
        with pytest.raises(KINDS_OF_REFUSAL[patch_on_finished]) as caught:
            client.run(flows.update_invocation(running, "succeeded", OUTPUT))
        assert caught.value.request == f"PATCH /invocations/{running}"

    @pytest.mark.parametrize("status", [401, 403, 422])
    def test_update_raises_other_refusals_at_once(self, client, kernel_emulator, running, status):
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", None, status=status))
        with pytest.raises(errors.KernelAPIError) as caught:
            client.run(flows.update_invocation(running, "succeeded", OUTPUT))
        assert caught.value.status_code == status
        assert len(kernel_emulator.requests("PATCH")) == 1


def test_update_repeated_ends_the_invocation_once(client, kernel_emulator, running):
    for _ in range(3):
        assert client.run(flows.update_invocation(running, "succeeded", OUTPUT)).status == "succeeded"
    assert kernel_emulator.invocation(running).statuses == ("queued", "running", "succeeded")
