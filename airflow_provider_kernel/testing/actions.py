"""What an action sees, and the thread that runs it."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from airflow_provider_kernel.testing.apps import Action
    from airflow_provider_kernel.testing.state import Run, Store
    from airflow_provider_kernel.testing.times import Clock


class InvocationEndedError(Exception):
    """The invocation was ended, so there is nothing left to work for."""


class ActionError(Exception):
    """
    Raised by an action to fail with an output of its choice.

    :param message: what went wrong.
    :param output: the output as it is, which may be plain text; JSON of the message otherwise.
    """

    def __init__(self, message: str, output: str | None = None) -> None:
        super().__init__(message)
        self.output = output


class ActionContext:
    """
    The first argument of every action.

    :param run: the invocation.
    :param store: where it is kept.
    :param clock: the platform's clock.
    """

    def __init__(self, run: Run, store: Store, clock: Clock) -> None:
        self._run = run
        self._store = store
        self._clock = clock

    @property
    def invocation_id(self) -> str:
        """The invocation's ID."""
        return self._run.id

    @property
    def cancelled(self) -> bool:
        """Whether the invocation was ended from outside, so that the code should return."""
        return self._run.stop.is_set()

    def log(self, message: str) -> None:
        """
        Write a log line.

        :param message: the line; cut at 64 KiB.
        """
        self._store.log(self._run, str(message))

    def create_browser(self, headless: bool = False) -> dict[str, Any]:
        """
        Open a browser linked to the invocation.

        :param headless: a headless browser has no live view.
        :return: the `Browser` as the API shows it.
        :raises InvocationEndedError: when the invocation was ended.
        """
        if self.cancelled:
            raise InvocationEndedError(f"invocation {self.invocation_id} was ended; it opens no more browsers")
        return self._store.open_browser(self._run, headless=headless)

    def wait(self, seconds: float | None = None) -> bool:
        """
        Wait on the platform's clock, or until the invocation is ended.

        :param seconds: emulated seconds; None waits until the end.
        :return: whether the invocation was ended; the action should return then.
        """
        return self._run.stop.wait(self._clock.real(seconds))

    async def sleep(self, seconds: float) -> None:
        """
        Wait in a coroutine, which is cancelled when the invocation is ended.

        :param seconds: emulated seconds.
        """
        real = self._clock.real(seconds)
        if real is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(real)


class Runner:
    """
    Runs actions, each in a daemon thread of its own.

    A thread each, also for coroutines: whatever an action does, it holds up neither the server nor its
    shutdown.

    :param store: where runs are kept.
    :param clock: the platform's clock.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def start(self, run: Run, action: Action) -> None:
        """
        Run an action for an invocation.

        :param run: the invocation, queued.
        :param action: what to run.
        """
        name = f"kernel-emulator-{run.id}"
        threading.Thread(target=self._run, args=(run, action), name=name, daemon=True).start()

    def _run(self, run: Run, action: Action) -> None:
        queued = self._store.switches.queue_seconds
        if (queued and run.ended.wait(self._clock.real(queued))) or not self._store.begin(run):
            return
        name = f"kernel-emulator-timeout-{run.id}"
        threading.Thread(target=self._time_out, args=(run,), name=name, daemon=True).start()
        switches = self._store.switches
        try:
            output = self._output(_call(action, ActionContext(run, self._store, self._clock), run))
        except BaseException as error:  # noqa: BLE001 - whatever ends user code ends the run, as on Kernel
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
            # Code that was told to stop has no result: the run has ended, or the emulator is stopping.
            if run.stop.is_set():
                return
            self._store.finish(run, "succeeded", output=output, end_browsers=switches.run_end_ends_browsers)

    def _output(self, value: Any) -> str | None:
        if value is None and self._store.switches.output_of_none == "absent":
            return None
        return json.dumps(value, allow_nan=False)

    def _time_out(self, run: Run) -> None:
        seconds = run.async_timeout_seconds
        if run.ended.wait(self._clock.real(seconds)):
            return
        switches = self._store.switches
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
    except ValueError:  # let through by a switch: the action gets what was sent
        return payload


async def _await(awaitable: Awaitable[Any], run: Run) -> Any:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(awaitable)
    with run.stop.calling(lambda: loop.call_soon_threadsafe(task.cancel)):
        return await task
