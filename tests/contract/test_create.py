"""Never are two runs started, whatever happens; and where the server refused, one is started all the same."""

from __future__ import annotations

import pytest
from contract import troubles

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.destination import ConnectionProblem
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.testing import Fault


def start(client):
    """Start a run that does not end by itself, so that a second one would run beside it."""
    return client.run(flows.start_invocation(requests.create_invocation("demo", "hang", payload={"buy": 1})))


@pytest.mark.parametrize("times", [1, 2, 3])
class TestTroubleOnTheWay:
    @pytest.mark.parametrize("trouble", troubles.REFUSALS)
    def test_create_is_resent_after_a_refusal(self, client, kernel_emulator, trouble, times):
        kernel_emulator.add_fault(troubles.fault_of(trouble, "POST", "/invocations", times))
        started = start(client)
        (run,) = kernel_emulator.invocations
        assert (started.id, started.status) == (run.id, "queued")
        assert [request.status for request in kernel_emulator.requests("POST")] == [
            *[troubles.ALL[trouble]["status"]] * times,
            202,
        ]
        assert kernel_emulator.most_active_at_once() == 1
        if "Retry-After" in trouble:
            assert all(wait >= 1.0 for wait in client.waits)

    def test_create_is_resent_when_nothing_listens(self, client, kernel_emulator, nothing_listens, times):
        nothing_listens(times)
        started = start(client)
        assert len(client.waits) == times
        assert len(kernel_emulator.requests("POST")) == 1
        assert [run.id for run in kernel_emulator.invocations] == [started.id]

    @pytest.mark.parametrize("trouble", troubles.LOSSES)
    def test_create_is_not_resent_when_its_outcome_is_unknown(self, connect, kernel_emulator, trouble, times):
        client = connect(kernel_emulator, read_timeout=troubles.read_timeout(trouble))
        fault = kernel_emulator.add_fault(troubles.fault_of(trouble, "POST", "/invocations", times))
        with pytest.raises(errors.KernelAmbiguousStartError) as caught:
            start(client)
        fault.release()
        assert caught.value.permanent
        assert "MAY be running" in str(caught.value)
        assert "1 attempt in" in str(caught.value)
        assert isinstance(caught.value.__cause__, errors.KernelError)
        assert len(kernel_emulator.requests("POST")) == 1
        assert client.waits == []
        assert len(kernel_emulator.invocations) == (1 if troubles.did_it(trouble) else 0)


@pytest.mark.parametrize("trouble", troubles.LOSSES)
def test_create_is_not_resent_when_its_answer_is_lost_after_refusals(connect, kernel_emulator, trouble):
    client = connect(kernel_emulator, read_timeout=troubles.read_timeout(trouble))
    kernel_emulator.add_fault(troubles.fault_of("529", "POST", "/invocations", 2))
    fault = kernel_emulator.add_fault(Fault("POST", "/invocations", 3, **troubles.ALL[trouble]))
    with pytest.raises(errors.KernelAmbiguousStartError, match="3 attempts"):
        start(client)
    fault.release()
    assert len(kernel_emulator.requests("POST")) == 3
    assert len(kernel_emulator.invocations) == (1 if troubles.did_it(trouble) else 0)


class TestWhenTheServerKeepsRefusing:
    @pytest.mark.parametrize("trouble", troubles.REFUSALS)
    def test_create_that_is_always_refused_raises_a_retryable_error(self, client, kernel_emulator, trouble):
        kernel_emulator.add_fault(troubles.fault_of(trouble, "POST", "/invocations", None))
        with pytest.raises(errors.KernelAPIError) as caught:
            start(client)
        assert caught.value.status_code == troubles.ALL[trouble]["status"]
        assert not caught.value.permanent
        assert caught.value.attempts.times == len(kernel_emulator.requests("POST")) == 5
        assert kernel_emulator.invocations == ()

    def test_create_while_nothing_listens_raises_a_retryable_error(self, client, kernel_emulator):
        with kernel_emulator.outage(), pytest.raises(errors.KernelConnectionError) as caught:
            start(client)
        assert caught.value.problem is ConnectionProblem.REFUSED
        assert not caught.value.sent
        assert not caught.value.permanent
        assert "5 attempts in" in str(caught.value)

    def test_create_waits_for_a_free_slot_of_a_full_plan(self, client, kernel_emulator, running):
        kernel_emulator.switches.max_concurrent = 1
        client.on_wait = lambda: len(client.waits) == 2 and kernel_emulator.finish(running)
        started = start(client)
        assert len(client.waits) == 2
        assert all(wait >= 1.0 for wait in client.waits)
        assert kernel_emulator.most_active_at_once() == 1
        assert kernel_emulator.invocations[-1].id == started.id


class TestPlainRefusals:
    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("App 'nothing'", ("nothing", "echo", "latest")),
            ("version '9'", ("demo", "echo", "9")),
            ("action 'nothing'", ("demo", "nothing", "latest")),
        ],
    )
    def test_create_of_an_undeployed_action_says_what_is_missing(self, client, kernel_emulator, name, arguments):
        app, action, version = arguments
        with pytest.raises(errors.KernelNotFoundError, match=name):
            client.run(flows.start_invocation(requests.create_invocation(app, action, version=version)))
        assert len(kernel_emulator.requests("POST")) == 1

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
    def test_create_that_is_clearly_refused_is_not_ambiguous(self, client, kernel_emulator, status):
        kernel_emulator.add_fault(Fault("POST", "/invocations", None, status=status))
        with pytest.raises(errors.KernelAPIError) as caught:
            start(client)
        assert caught.value.status_code == status
        assert len(kernel_emulator.requests("POST")) == 1
        assert kernel_emulator.invocations == ()
