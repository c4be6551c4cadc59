"""The trigger that waits for an invocation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_kernel import _compat
from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.dashboard import dashboard_link, needs_browser
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.resources.invocations import flows
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.models import Browser, Invocation
from airflow_provider_kernel.client.resources.invocations.wait import wait_for_invocation
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.task_instances import is_still_deferred_on, preload_state_api
from airflow_provider_kernel.links.kernel import DASHBOARD, LIVE_VIEW
from airflow_provider_kernel.log_lines import DEFAULT_MAX_LOG_LINES, InvocationLog
from airflow_provider_kernel.triggers.log_stream import AsyncLogStream
from airflow_provider_kernel.triggers.shared_client import shared_client
from airflow_provider_kernel.triggers.shared_looks import waiting_for

#: How long to wait for Airflow to tell the state of a task; many may be asked about at once.
_ASK_SECONDS = 60.0
#: How long one answer to a cancel's requests may take: a look that hangs must not keep the cancel from being sent.
_CANCEL_ANSWER_SECONDS = 5.0
#: How long a cancel may take altogether.
_CANCEL_SECONDS = 30.0

#: Cancels under way. The event loop itself keeps only weak references to its tasks.
_cancels: set[asyncio.Task[None]] = set()


class KernelInvocationTrigger(BaseTrigger):
    """
    Wait for an invocation to end, and say that it has; its result is read by the worker.

    It starts nothing, so it may run again after a restart of the triggerer. It ends the invocation when somebody
    acts on the task (marks or clears it), and never for any other reason: not when the triggerer stops, and not
    when another triggerer has taken over.

    Its one event is ``{"invocation_id": ..., "status": ...}`` with a status of ``"finished"``, ``"timeout"`` (the
    deadline has passed) or ``"error"`` (with an ``"error"`` text: it cannot be looked at any more).

    :param invocation_id: the invocation.
    :param kernel_conn_id: the Airflow connection; what it holds is not part of the trigger's row.
    :param poll_interval: seconds between two looks.
    :param deadline: when to stop waiting, in seconds since the epoch; ``None`` for never.
    :param cancel_on_kill: whether to cancel the invocation when somebody acts on the task.
    :param stream_logs: whether to write the invocation's log lines into the task's log.
    :param max_log_lines: how many of them at most.
    :param is_new: whether the invocation was started just now, so that it may not be found at first.
    :param live_view_link: whether to link to the live view of the invocation's first browser.
    """

    def __init__(
        self,
        *,
        invocation_id: str,
        kernel_conn_id: str = "kernel_default",
        poll_interval: float = 10.0,
        deadline: float | None = None,
        cancel_on_kill: bool = True,
        stream_logs: bool = True,
        max_log_lines: int = DEFAULT_MAX_LOG_LINES,
        is_new: bool = True,
        live_view_link: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.invocation_id = invocation_id
        self.kernel_conn_id = kernel_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.cancel_on_kill = cancel_on_kill
        self.stream_logs = stream_logs
        self.max_log_lines = max_log_lines
        self.is_new = is_new
        self.live_view_link = live_view_link
        self._config: KernelConfig | None = None
        self._is_over = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Describe the trigger for its row in Airflow's database."""
        return (
            "airflow_provider_kernel.triggers.invocation.KernelInvocationTrigger",
            {
                "invocation_id": self.invocation_id,
                "kernel_conn_id": self.kernel_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "cancel_on_kill": self.cancel_on_kill,
                "stream_logs": self.stream_logs,
                "max_log_lines": self.max_log_lines,
                "is_new": self.is_new,
                "live_view_link": self.live_view_link,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event."""
        event: dict[str, Any] = {"invocation_id": self.invocation_id, "status": "finished"}
        try:
            self._config = await KernelHook(self.kernel_conn_id).aget_config()
            if self.cancel_on_kill and self.task_instance is not None:
                preload_state_api(self.task_instance)
            async with shared_client(self._config) as client:
                await self._wait(client)
        except KernelInvocationTimeoutError:
            event["status"] = "timeout"
        except KernelError as error:
            event |= {"status": "error", "error": f"{type(error).__name__}: {error}"}
        except asyncio.CancelledError:
            if not _compat.triggers_have_on_kill():
                # It may be a mere stop of the triggerer, in which Airflow cannot always be asked.
                await self._cancel_unless_deferred(if_unknown=False)
            raise
        # From here on there is nothing to cancel: the worker decides, also when this trigger lingers.
        self._is_over = True
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """
        Cancel the invocation, because somebody acted on the task.

        The triggerer cancels this call, too, about once a second; so the work is a task of its own, and this waits
        for it through all cancellations.
        """
        # Better a cancel too many than an invocation that nobody waits for.
        await self._cancel_unless_deferred(if_unknown=True)

    async def _wait(self, client: AsyncKernelClient) -> Invocation:
        dashboard_url = client.config.dashboard_url
        found: list[tuple[Invocation, Browser]] = []
        of_interest = self.task_instance is not None and (self.live_view_link or needs_browser(dashboard_url))

        async def pause(seconds: float) -> None:
            while found:
                # In a thread: it waits for the triggerer's supervisor, and the event loop must not.
                await asyncio.to_thread(self._show_browser, dashboard_url, *found.pop())
            # As long as nobody knows its browser, each look also asks for that.
            await wait.rest(seconds, until_news=not of_interest)

        with waiting_for(client, self.invocation_id, interval=self.poll_interval, deadline=self.deadline) as wait:
            async with self._log_stream(client, on_end=wait.nudge):
                return await client.run(
                    wait_for_invocation(
                        self.invocation_id,
                        poll_interval=self.poll_interval,
                        deadline=self.deadline,
                        is_new=self.is_new,
                        on_change=lambda i: self.log.info("Invocation %s %s", i.id, i.standing),
                        on_trouble=lambda error: self.log.warning("%s; looking again", error),
                        on_browser=(lambda *browser: found.append(browser)) if of_interest else None,
                    ),
                    sleep=pause,
                    send=wait.send,
                )

    def _show_browser(self, dashboard_url: str, invocation: Invocation, browser: Browser) -> None:
        if needs_browser(dashboard_url):
            link = dashboard_link(
                dashboard_url, invocation.id, app_name=invocation.app_name, session_id=browser.session_id
            )
            DASHBOARD.write(self.task_instance, link, log=self.log)
        if self.live_view_link:
            LIVE_VIEW.write(self.task_instance, browser.browser_live_view_url, log=self.log)

    def _log_stream(
        self, client: AsyncKernelClient, *, on_end: Callable[[], None]
    ) -> AbstractAsyncContextManager[object]:
        if not self.stream_logs:
            return nullcontext()
        log = InvocationLog(self.log, self.invocation_id, max_lines=self.max_log_lines)
        return AsyncLogStream(client, self.invocation_id, log=log, on_end=on_end)

    async def _cancel_unless_deferred(self, *, if_unknown: bool) -> None:
        if self._is_over or not self.cancel_on_kill:
            return
        task = asyncio.create_task(self._cancel(if_unknown=if_unknown))
        _cancels.add(task)
        task.add_done_callback(_cancels.discard)
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                continue

    async def _cancel(self, *, if_unknown: bool) -> None:
        if await self._is_still_wanted(if_unknown=not if_unknown):
            self.log.info("The task still waits for invocation %s elsewhere; it is left alone", self.invocation_id)
            return
        try:
            cancellation = await asyncio.wait_for(self._cancel_now(), _CANCEL_SECONDS)
        except Exception as error:  # noqa: BLE001 (nobody else would tell of it)
            self.log.error(  # noqa: TRY400 (its text says it all)
                "Invocation %s could not be cancelled: %s", self.invocation_id, _text(error)
            )
        else:
            for level, text in cancellation.report():
                self.log.log(level, text)

    async def _cancel_now(self) -> flows.Cancellation:
        # It may have been killed before run() had read the connection.
        config = self._config or await KernelHook(self.kernel_conn_id).aget_config()
        # A client of its own: the triggerer lets run() and cleanup() end while this is still under way.
        config = replace(config, read_timeout=min(config.read_timeout, _CANCEL_ANSWER_SECONDS))
        async with shared_client(config) as client:
            return await client.run(
                flows.cancel_invocation(self.invocation_id, "The Airflow task was killed", urgent=True)
            )

    async def _is_still_wanted(self, *, if_unknown: bool) -> bool:
        if self.task_instance is None:
            return if_unknown
        try:
            question = is_still_deferred_on(self.task_instance, self.invocation_id)
            return await asyncio.wait_for(question, _ASK_SECONDS)
        except Exception as error:  # noqa: BLE001 (whatever it is that keeps Airflow from telling)
            self.log.warning("Airflow does not tell the state of the task: %s", _text(error))
            return if_unknown


def _text(error: Exception) -> str:
    return "no answer in time" if isinstance(error, asyncio.TimeoutError) else str(error) or type(error).__name__
