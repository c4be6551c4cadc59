"""Each error that a request can meet, in each place where a request is sent, has the outcome that the docs name."""

import asyncio
import inspect
import json
import sys
from functools import partial
from pathlib import Path

import pytest
from airflow.sdk import literal
from support.secrets_backend import DownBackend

from airflow_provider_kernel._compat import AirflowFailException
from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.errors import KernelLostContactError
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers.finished import deliveries
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))
from error_outcomes import COLUMNS, NOT_OF_A_REQUEST, OUTCOMES, SAME_AS, Outcome

ONE, LIST, EVENTS = "/invocations/*", "/invocations", "/invocations/*/events"
ECHO = {"app_name": "demo", "action_name": "echo", "poll_interval": 0.01, "stream_logs": False}
OUTAGE = "airflow_provider_kernel.client.outage"

#: What the emulator answers, to make each error.
ANSWERS = {
    "KernelConnectionError": {"drop": "before"},
    "KernelTimeoutError": {"delay": 3.0},
    "KernelResponseError": {"status": 200, "body": "<html>hello</html>"},
    "KernelBadRequestError": {"status": 400},
    "KernelAuthenticationError": {"status": 401},
    "KernelPermissionError": {"status": 403},
    "KernelNotFoundError": {"status": 404},
    "KernelConflictError": {"status": 409},
    "KernelRateLimitError": {"status": 429},
    "KernelServerError": {"status": 520},
    "KernelAPIError": {"status": 418},
}
#: The errors that the connection causes, and no answer.
OF_THE_CONNECTION = ("KernelConfigurationError", "KernelConfigurationUnavailableError")
CELLS = [
    pytest.param(error, column, outcome, id=f"{error}-{column}")
    for error, row in OUTCOMES.items()
    for column, outcome in row.items()
    if isinstance(outcome, Outcome)
]


class Play:
    """Meets one error in one place, on the real operator, sensor or trigger, and names what came of it."""

    def __init__(self, error, kernel, run, api, monkeypatch):
        self.error = error
        self.kernel = kernel
        self.run = run
        self.api = api
        self.monkeypatch = monkeypatch
        extra = {"max_attempts": 3}
        if error == "KernelTimeoutError":
            extra.update(connect_timeout=0.6, read_timeout=0.7)
        # How long a pause is makes no difference here.
        monkeypatch.setattr(
            "airflow_provider_kernel.hooks.connection.RetryPolicy", partial(RetryPolicy, base_seconds=0.01)
        )
        self.connect(extra)

    def connect(self, extra):
        connection = {**json.loads(self.kernel.airflow_connection), "extra": extra}
        self.monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))

    def fails(self, method, path, nth=1):
        if self.error == "KernelConfigurationError":
            self.connect({"max_attempts": 0})
        elif self.error == "KernelConfigurationUnavailableError":
            # Airflow asks it, and then the hook.
            vault = DownBackend(calls_down=2)
            vault.connections["kernel_default"] = self.kernel.airflow_connection
            vault.install(self.monkeypatch)
            self.monkeypatch.delenv("AIRFLOW_CONN_KERNEL_DEFAULT")
        elif self.error in ANSWERS:
            self.kernel.add_fault(Fault(method, path, nth, **ANSWERS[self.error]))

    def is_input(self, wrong, right):
        return wrong if self.error == "KernelInputError" else right

    def minutes_are_over(self):
        """Let a wait give up at once where it would after a time."""
        self.monkeypatch.setattr(f"{OUTAGE}.ACCESS_SECONDS", 0.0)
        self.monkeypatch.setattr(f"{OUTAGE}.NOT_FOUND_GRACE_SECONDS", 0.0)

    def failure(self, result):
        if result.state == "failed":
            assert isinstance(result.error, AirflowFailException)
            assert type(result.error.kernel_error).__name__ == self.error
            return Outcome.AT_ONCE
        assert result.state == "up_for_retry"
        assert type(result.error).__name__ == self.error
        return Outcome.RETRIED

    def of_wait(self, result):
        """Name the outcome of a wait whose minutes are over."""
        assert self.kernel.requests("PATCH", ONE) == () or result.state == "failed"
        if result.state == "success":
            return Outcome.POLLED
        if isinstance(result.error, KernelLostContactError):
            assert result.error.ends_nothing
            assert result.state == "up_for_retry"
            return Outcome.REFUSED
        assert type(result.error.kernel_error) is errors.KernelNotFoundError
        return Outcome.GRACE

    def start(self):
        self.fails("POST", LIST)
        self.monkeypatch.setattr(
            "airflow_provider_kernel.owned.invocation.OwnedInvocation.listing_lag_seconds", 0.0
        )
        key = self.is_input("key", None)
        result = self.run(KernelInvokeOperator, **ECHO, correlation_key=key, payload=literal([1]))
        if result.state == "success":
            assert len(self.kernel.invocations) == 1
            return Outcome.LOOKED_UP if self.kernel.requests("GET", LIST) else Outcome.AGAIN
        assert self.kernel.invocations == ()
        return self.failure(result)

    def poll(self):
        self.fails("GET", ONE, (1, 2))
        assert self.run(KernelInvokeOperator, **ECHO).state == "success"
        self.kernel.clear_faults()
        self.fails("GET", ONE, (1, 2))
        self.minutes_are_over()
        return self.of_wait(self.run(KernelInvokeOperator, **ECHO))

    def end(self):
        class Broken(KernelInvokeOperator):
            def _wait(self, *args):
                raise RuntimeError("a bug of its own")

        self.fails("PATCH", ONE)
        self.run(Broken, **{**ECHO, "action_name": "hang"})
        (invocation,) = self.kernel.invocations
        if not invocation.finished:
            return Outcome.GONE
        assert invocation.status == "failed"
        assert len(self.kernel.requests("PATCH", ONE)) == 2
        return Outcome.ENDED

    def list(self):
        self.fails("GET", LIST)
        result = self.run(KernelCancelOrphansOperator, app_name=self.is_input(literal("x" * 999), "demo"))
        return Outcome.AGAIN if result.state == "success" else self.failure(result)

    def stream(self):
        self.fails("GET", EVENTS)
        assert self.run(KernelInvokeOperator, **{**ECHO, "stream_logs": True}).state == "success"
        return Outcome.REOPENED if len(self.kernel.requests("GET", EVENTS)) > 1 else Outcome.LINES_LOST

    def sense(self, **arguments):
        arguments = {"poke_interval": 0.01, "timeout": 60, **arguments}
        return self.run(KernelInvocationSensor, **arguments)

    def ended(self):
        with KernelHook() as hook:
            invocation_id = hook.invoke("demo", "hang").id
        self.kernel.finish(invocation_id)
        return invocation_id

    def first_poke(self):
        invocation_id = self.is_input(literal("a/b"), self.ended())
        self.fails("GET", ONE)
        result = self.sense(invocation_id=invocation_id)
        return Outcome.POLLED if result.state == "success" else self.failure(result)

    def poke(self):
        for minutes_are_over in (lambda: None, self.minutes_are_over):
            self.kernel.clear_faults()
            invocation_id = self.ended()
            self.kernel.add_fault(Fault("GET", ONE, 1, body={"id": invocation_id, "status": "running"}))
            self.fails("GET", ONE, (2, 3))
            minutes_are_over()
            result = self.sense(invocation_id=invocation_id)
            assert result.state == "success" or minutes_are_over == self.minutes_are_over
        return self.of_wait(result)

    def trigger(self):
        if self.error not in OF_THE_CONNECTION:
            assert self.event()["status"] == "finished"
            self.kernel.clear_faults()
        self.minutes_are_over()
        event = self.event()
        assert self.kernel.requests("PATCH") == ()
        if event["status"] == "finished":
            return Outcome.POLLED
        return Outcome.REFUSED if event["ends_nothing"] else Outcome.GRACE

    def event(self):
        trigger = KernelInvocationTrigger(invocation_id=self.ended(), poll_interval=0.01, stream_logs=False)
        self.fails("GET", ONE, (1, 2))

        async def fire():
            return [event.payload async for event in trigger.run()]

        (event,) = asyncio.run(fire())
        return event

    def watcher(self):
        self.minutes_are_over()
        if self.error in OF_THE_CONNECTION:
            read, broken = KernelHook.aget_config, [getattr(errors, self.error)("odd")]

            async def read_config(hook):
                if broken:
                    raise broken.pop()
                return await read(hook)

            self.monkeypatch.setattr(KernelHook, "aget_config", read_config)
        else:
            self.fails("GET", LIST, (1, 2, 3, 4))

        async def first():
            stream = deliveries("kernel_default", 0.01)
            try:
                return await anext(stream)
            finally:
                await stream.aclose()

        assert asyncio.run(first()) is not None
        return Outcome.WATCHED


@pytest.mark.parametrize(("error", "column", "outcome"), CELLS)
def test_error_has_the_outcome_that_the_docs_name(
    error, column, outcome, kernel_emulator, run, execution_api, monkeypatch
):
    play = Play(error, kernel_emulator, run, execution_api, monkeypatch)
    assert getattr(play, column)() is outcome


def test_table_has_every_error_of_the_client_and_every_place():
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]  # under a former name, too
    defined = {cls.__name__ for cls in classes if issubclass(cls, errors.KernelError)}
    assert defined == {*OUTCOMES, *NOT_OF_A_REQUEST, *SAME_AS}
    assert all(issubclass(getattr(errors, name), getattr(errors, base)) for name, base in SAME_AS.items())
    assert all(list(row) == list(COLUMNS) for row in OUTCOMES.values())
    assert set(ANSWERS) == {*OUTCOMES} - {*OF_THE_CONNECTION, "KernelInputError"}
