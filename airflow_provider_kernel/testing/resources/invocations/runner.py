"""Run actions in threads."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.testing.resources.invocations.actions import ActionContext, ActionError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from airflow_provider_kernel.testing.backend import Backend
    from airflow_provider_kernel.testing.resources.apps import Action
    from airflow_provider_kernel.testing.resources.invocations.run import Run
    from airflow_provider_kernel.testing.resources.invocations.store import RunStore


class Runner:
    """
    Runs each action in a daemon thread of its own.

    Coroutines too: an action can delay neither the server nor its shutdown.

    :param backend: the clock and the switches.
    :param store: the store that holds the runs.
    """

    def __init__(self, backend: Backend, store: RunStore) -> None:
        self._backend = backend
        self._store = store
        self._clock = backend.clock

    def start(self, run: Run, action: Action) -> None:
        """
        Run an action.

        :param run: the invocation, queued.
        """
        name = f"kernel-emulator-{run.id}"
        threading.Thread(target=self._run, args=(run, action), name=name, daemon=True).start()

    def _run(self, run: Run, action: Action) -> None:
        queued = self._backend.switches.queue_seconds
        if (queued and run.ended.wait(self._clock.real(queued))) or not self._store.begin(run):
            return
        name = f"kernel-emulator-timeout-{run.id}"
        threading.Thread(target=self._time_out, args=(run,), name=name, daemon=True).start()
        switches = self._backend.switches
        try:
            output = self._output(_call(action, ActionContext(run, self._store, self._clock), run))
        except BaseException as error:  # noqa: BLE001 - any exception of user code ends the run, as on Kernel
            if run.stop.is_set():
                return
            text = getattr(error, "output", None) if isinstance(error, ActionError) else None
            self._store.finish(
                run,
                "failed",
                output=text if text is not None else json.dumps({"error": str(error) or repr(error)}),
                reason=switches.reason_failed,
                end_browsers=switches.run_end_ends_browsers,
            )
        else:
            # Stopped code has no result: the run has ended, or the emulator is stopping.
            if run.stop.is_set():
                return
            self._store.finish(run, "succeeded", output=output, end_browsers=switches.run_end_ends_browsers)

    def _output(self, value: Any) -> str | None:
        if value is None and self._backend.switches.output_of_none == "absent":
            return None
        return json.dumps(value, allow_nan=False)

    def _time_out(self, run: Run) -> None:
        seconds = run.async_timeout_seconds
        if run.ended.wait(self._clock.real(seconds)):
            return
        switches = self._backend.switches
        self._store.finish(
            run,
            "failed",
            reason=switches.reason_timeout.format(seconds=seconds),
            end_browsers=switches.run_end_ends_browsers,
        )


def _call(action: Action, context: ActionContext, run: Run) -> Any:
    arguments: list[Any] = [context]
    if action.takes_payload:
        arguments.append(_parse(run.payload))
    result = action.function(*arguments)
    return asyncio.run(_await(result, run)) if inspect.isawaitable(result) else result


def _parse(payload: str | None) -> Any:
    if not payload:
        return None
    try:
        return json.loads(payload)
    except ValueError:  # switches.payload_must_be_json is off: the action gets the text
        return payload


async def _await(awaitable: Awaitable[Any], run: Run) -> Any:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(awaitable)
    with run.stop.calling(lambda: loop.call_soon_threadsafe(task.cancel)):
        return await task
