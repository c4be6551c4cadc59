"""The context of an action, and the errors that it may raise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.clock import Clock
    from airflow_provider_kernel.testing.resources.invocations.run import Run
    from airflow_provider_kernel.testing.resources.invocations.store import RunStore


class InvocationEndedError(Exception):
    """The invocation has ended."""


class ActionError(Exception):
    """
    Raised by an action to fail with an output of its own.

    :param message: the error message.
    :param output: the raw output, JSON or plain text; by default JSON with the message.
    """

    def __init__(self, message: str, output: str | None = None) -> None:
        super().__init__(message)
        self.output = output


class ActionContext:
    """
    The first argument of every action.

    :param run: the invocation.
    :param store: the store that holds it.
    :param clock: the emulated clock.
    """

    def __init__(self, run: Run, store: RunStore, clock: Clock) -> None:
        self._run = run
        self._store = store
        self._clock = clock

    @property
    def invocation_id(self) -> str:
        """The invocation's ID."""
        return self._run.id

    @property
    def cancelled(self) -> bool:
        """Whether the invocation was ended from outside; the action should return then."""
        return self._run.stop.is_set()

    def log(self, message: str) -> None:
        """
        Write a log line.

        :param message: the line, truncated to 64 KiB.
        """
        self._store.log(self._run, str(message))

    def create_browser(self, headless: bool = False) -> dict[str, Any]:
        """
        Open a browser of the invocation.

        :param headless: a headless browser has no live view.
        :return: the `Browser` as the API shows it.
        :raises InvocationEndedError: if the invocation was ended from outside.
        """
        if self.cancelled:
            raise InvocationEndedError(f"invocation {self.invocation_id} has ended; it opens no more browsers")
        return self._store.open_browser(self._run, headless=headless)

    def wait(self, seconds: float | None = None) -> bool:
        """
        Wait, at most until the invocation is ended from outside.

        :param seconds: emulated seconds; None waits until the end.
        :return: whether the invocation was ended; the action should return then.
        """
        return self._run.stop.wait(self._clock.real(seconds))

    async def sleep(self, seconds: float) -> None:
        """
        Wait in a coroutine; it is cancelled when the invocation is ended from outside.

        :param seconds: emulated seconds.
        """
        real = self._clock.real(seconds)
        if real is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(real)
