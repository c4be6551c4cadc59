"""Both clients carry out a watch alike: they look until the invocation has ended, through whatever passes."""

from __future__ import annotations

import time
from itertools import repeat

import pytest
from contract import troubles

from airflow_provider_kernel.client import errors, outage
from airflow_provider_kernel.client.resources.invocations import requests, wait
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.wait import wait_for_invocation
from airflow_provider_kernel.testing import Fault

GET = "/invocations/*"


def run(client, flow, sleep):
    """Carry out a flow with a sleep of its own, if any; ``sleep`` is a plain function for either client."""
    if not hasattr(client, "loop"):
        return client._client.run(flow, sleep=sleep)

    async def asleep(seconds):
        sleep(seconds)

    return client.loop.run_until_complete(client._client.run(flow, sleep=asleep if sleep else None))


def looks(kernel_emulator):
    return len(kernel_emulator.requests("GET", GET))


@pytest.fixture
def finish_after(client, kernel_emulator, running):
    """Have the invocation end while the client waits for the nth time."""

    def finish_after(waits, status="succeeded"):
        client.on_wait = lambda: len(client.waits) == waits and kernel_emulator.finish(running, status, {"n": 1})

    return finish_after


class TestLooks:
    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    def test_wait_polls_until_the_invocation_has_ended(
        self, client, kernel_emulator, running, finish_after, status
    ):
        finish_after(4, status)
        told = []
        invocation = client.run(
            wait_for_invocation(running, poll_interval=10, on_change=lambda i: told.append(i.status))
        )
        assert (invocation.id, invocation.status, invocation.parsed_output()) == (running, status, {"n": 1})
        assert told == ["running", status]
        assert looks(kernel_emulator) == 5
        for seconds, about in zip(client.waits, [0.5, 0.75, 1.125, 1.6875], strict=True):
            assert seconds == pytest.approx(about, rel=0.11)

    def test_wait_polls_an_ended_invocation_once(self, client, kernel_emulator, running):
        kernel_emulator.finish(running)
        assert client.run(wait_for_invocation(running, poll_interval=10)).is_final
        assert looks(kernel_emulator) == 1
        assert client.waits == []

    def test_wait_polls_a_queued_invocation(self, client, kernel_emulator):
        kernel_emulator.switches.queue_seconds = float("inf")
        queued = client.send(requests.create_invocation("demo", "hang")).id
        client.on_wait = lambda: len(client.waits) == 2 and kernel_emulator.finish(queued, "failed")
        told = []
        client.run(wait_for_invocation(queued, poll_interval=1, on_change=lambda i: told.append(i.status)))
        assert told == ["queued", "failed"]

    def test_wait_goes_on_polling_at_an_unknown_status(self, client, kernel_emulator, running, finish_after):
        kernel_emulator.add_fault(Fault("GET", GET, (1, 2), status=200, body={"id": running, "status": "paused"}))
        finish_after(3)
        told = []
        client.run(wait_for_invocation(running, poll_interval=1, on_change=lambda i: told.append(i.status)))
        assert told == ["paused", "running", "succeeded"]


class TestTrouble:
    @pytest.mark.parametrize("trouble", troubles.ALL)
    def test_wait_survives_a_failed_poll_and_reports_it_once(self, connect, kernel_emulator, running, trouble):
        client = connect(kernel_emulator, read_timeout=troubles.read_timeout(trouble))
        client.on_wait = lambda: len(client.waits) == 4 and kernel_emulator.finish(running)
        fault = kernel_emulator.add_fault(troubles.fault_of(trouble, "GET", GET, 2))
        troubled = []
        flow = wait_for_invocation(running, poll_interval=0.5, on_poll_error=troubled.append)
        assert client.run(flow).status == "succeeded"
        fault.release()
        assert len(troubled) == 1
        # The next look is the next attempt: no look is sent twice, and no wait is another than those between looks.
        assert troubled[0].attempts.times == 1
        assert looks(kernel_emulator) == 5
        assert len(client.waits) == 4

    def test_wait_survives_a_page_in_place_of_the_api(self, client, kernel_emulator, running, finish_after):
        kernel_emulator.add_fault(Fault("GET", GET, (1, 3), status=200, body=troubles.ERROR_PAGE))
        finish_after(3)
        troubled = []
        assert client.run(wait_for_invocation(running, poll_interval=0.5, on_poll_error=troubled.append)).is_final
        assert [type(error) for error in troubled] == [errors.KernelResponseError] * 2

    def test_wait_obeys_retry_after(self, client, kernel_emulator, running, finish_after):
        kernel_emulator.add_fault(Fault("GET", GET, 1, status=429, headers={"Retry-After": "17"}))
        kernel_emulator.add_fault(Fault("GET", GET, 2, status=503, headers={"Retry-After": "9" * 400}))
        finish_after(2)
        client.run(wait_for_invocation(running, poll_interval=0.5))
        assert client.waits == [17, 300]

    def test_wait_survives_an_outage(self, client, kernel_emulator, running, nothing_listens):
        nothing_listens(5)
        told = []

        def on_change(invocation):
            told.append(invocation.status)
            if not invocation.is_final:
                kernel_emulator.finish(invocation.id)

        client.run(wait_for_invocation(running, poll_interval=1, on_change=on_change))
        assert told == ["running", "succeeded"]
        assert len(client.waits) == 6

    @pytest.mark.parametrize(
        "answer", [{"status": 520}, {"status": 400}, {"status": 404}, {"drop": "after"}], ids=str
    )
    def test_failed_polls_do_not_end_the_wait(self, client, kernel_emulator, running, finish_after, answer):
        kernel_emulator.add_fault(Fault("GET", GET, range(2, 30), **answer))
        finish_after(25)
        assert client.run(wait_for_invocation(running, poll_interval=0.5)).is_final
        assert looks(kernel_emulator) == 30

    def test_key_that_stays_refused_ends_the_wait(self, client, kernel_emulator, running, monkeypatch):
        monkeypatch.setattr(outage, "ACCESS_SECONDS", 0.0)
        kernel_emulator.add_fault(Fault("GET", GET, None, status=401))
        with pytest.raises(errors.KernelLostContactError, match=f"invocation {running}") as raised:
            client.run(wait_for_invocation(running, poll_interval=0.5))
        assert isinstance(raised.value.__cause__, errors.KernelAuthenticationError)
        assert not kernel_emulator.invocation(running).finished

    def test_wait_tolerates_not_found_at_first(self, client, kernel_emulator, running, finish_after):
        kernel_emulator.add_fault(Fault("GET", GET, (1, 2), status=404))
        finish_after(3)
        assert client.run(wait_for_invocation(running, poll_interval=1)).is_final
        assert looks(kernel_emulator) == 4

    def test_wait_raises_not_found_for_an_old_invocation(self, client, kernel_emulator):
        with pytest.raises(errors.KernelNotFoundError):
            client.run(wait_for_invocation("abc", poll_interval=1, is_new=False))
        assert looks(kernel_emulator) == 1

    def test_wait_raises_not_found_after_its_grace_time(self, client, kernel_emulator, monkeypatch):
        monkeypatch.setattr(outage, "NOT_FOUND_GRACE_SECONDS", 0.0)
        with pytest.raises(errors.KernelNotFoundError):
            client.run(wait_for_invocation("abc", poll_interval=1))
        assert looks(kernel_emulator) == 1


class TestTheDeadline:
    def test_wait_polls_once_at_its_deadline(self, client, kernel_emulator, running):
        with pytest.raises(KernelInvocationTimeoutError, match=f"Invocation {running} did not end in time"):
            client.run(wait_for_invocation(running, poll_interval=1, deadline=time.time()))
        assert looks(kernel_emulator) == 1
        assert not kernel_emulator.invocation(running).finished

    def test_wait_shortens_the_last_sleep_to_the_deadline(self, client, kernel_emulator, running, monkeypatch):
        monkeypatch.setattr(wait, "poll_delays", lambda interval: repeat(1000.0))
        client.on_wait = lambda: kernel_emulator.finish(running)
        client.run(wait_for_invocation(running, poll_interval=10, deadline=time.time() + 60))
        (seconds,) = client.waits
        assert 30 < seconds < 60

    def test_wait_returns_an_ended_invocation_after_the_deadline(self, client, kernel_emulator, running):
        kernel_emulator.finish(running)
        assert client.run(wait_for_invocation(running, poll_interval=1, deadline=0.0)).status == "succeeded"


class TestTheSleep:
    def test_wait_sleeps_with_the_given_sleep(self, client, kernel_emulator, running):
        waits = []

        def sleep(seconds):
            waits.append(seconds)
            if len(waits) == 3:
                kernel_emulator.finish(running)

        assert run(client, wait_for_invocation(running, poll_interval=1), sleep).is_final
        assert len(waits) == 3
        assert client.waits == []

    def test_retry_of_a_flow_sleeps_with_the_sleep_of_the_client(self, client, kernel_emulator, running):
        """Requests of the flow that are sent again wait as the client does."""

        def flow():
            return (yield requests.get_invocation(running))

        kernel_emulator.add_fault(Fault("GET", GET, (1, 2), status=500))
        waits = []
        assert run(client, flow(), waits.append).id == running
        assert (len(client.waits), waits) == (2, [])

    @pytest.mark.parametrize("given", [True, False], ids=["given", "the client's own"])
    @pytest.mark.parametrize(
        "error",
        [
            errors.KernelTaskKilledError("the task was killed"),
            errors.KernelConnectionError("as a look that went wrong, but it is none"),
        ],
        ids=["killed", "transient"],
    )
    def test_wait_raises_an_error_of_its_sleep(self, client, kernel_emulator, running, given, error):
        def sleep(seconds=None):
            raise error

        troubled = []
        flow = wait_for_invocation(running, poll_interval=1, on_poll_error=troubled.append)
        client.on_wait = lambda: pytest.fail("the other sleep") if given else sleep()
        with pytest.raises(type(error)) as raised:
            run(client, flow, sleep if given else None)
        assert raised.value is error
        assert troubled == []
        assert looks(kernel_emulator) == 1

    def test_wait_goes_on_after_an_error_of_its_callback(self, client, kernel_emulator, running):
        def on_change(invocation):
            raise errors.KernelConnectionError("of the callback")

        client.on_wait = lambda: kernel_emulator.finish(running)
        assert client.run(wait_for_invocation(running, poll_interval=1, on_change=on_change)).is_final
        assert looks(kernel_emulator) == 2
