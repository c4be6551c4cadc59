"""The trigger that waits for an invocation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.dashboard import dashboard_link, needs_browser
from airflow_provider_kernel.client.errors import KernelError, KernelLostContactError
from airflow_provider_kernel.client.log_group import use_own_log
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.resources.invocations.wait import (
    held_delays,
    listed_delays,
    wait_for_invocation,
)
from airflow_provider_kernel.client.safe_logger import side_information
from airflow_provider_kernel.connection_form import DEFAULT_CONN_ID
from airflow_provider_kernel.lifecycle.names import DEFAULT_CANCEL_ON_KILL
from airflow_provider_kernel.lifecycle.resource import EndReport, WaitStatus
from airflow_provider_kernel.lifecycle.trigger import OwningTrigger
from airflow_provider_kernel.links.kernel import DASHBOARD, LIVE_VIEW
from airflow_provider_kernel.owned.carried_result import carry
from airflow_provider_kernel.owned.invocation import EndableInvocation
from airflow_provider_kernel.validation import DEFAULT_MAX_LOG_LINES, DEFAULT_POLL_INTERVAL

if TYPE_CHECKING:
    from airflow.triggers.base import TriggerEvent

    from airflow_provider_kernel.client.resources.invocations.browser_models import Browser
    from airflow_provider_kernel.task_log.afollow import AsyncLogStream
    from airflow_provider_kernel.triggers._polling import SharedPoller

#: A triggerer takes up a new trigger within seconds. After this many, another one may have run it before.
_TAKEN_UP_SECONDS = 10.0
#: How long Airflow may take to hide a link; the end of the trigger waits for it.
_HIDE_SECONDS = 5.0


class KernelInvocationTrigger(OwningTrigger):
    """
    Wait for the end of an invocation, and send an event, with a small result; else the worker fetches it.

    The trigger starts nothing, so it may run again after a restart of the triggerer. It then logs the invocation's
    lines from the first one again, after a line that says so: Airflow gives a trigger no place to keep how far it
    got. It ends the invocation when a user acts on the task (marks or clears it) and when the deadline has passed,
    and for no other reason: not when the triggerer stops, and not when another triggerer has taken over.

    It sends no event before ``[kernel] min_deferral`` seconds have passed, see
    :mod:`airflow_provider_kernel.lifecycle.min_deferral`. Its first poll comes then, unless
    ``poll_delays`` or a link need it before. The end of the log stream is followed by a poll at any time.

    Its one event is ``{"invocation_id": ..., "status": ...}`` with a status of ``"finished"`` (a small result is
    ``"invocation"``, and the link ``"dashboard"``, see ``max_carried_bytes``), ``"timeout"`` (the deadline has
    passed; with ``"ended"``: whether the trigger has ended the invocation, and ``"deadline"`` and ``"limit"``) or
    ``"error"`` (with an ``"error"`` text, ``"deadline"`` and ``"limit"``, and with ``"ends_nothing"``: whether that
    says nothing about the invocation, which must not be ended because of it).

    :param invocation_id: the invocation.
    :param kernel_conn_id: the Airflow connection; the trigger's row holds its id only.
    :param poll_interval: seconds between two polls.
    :param poll_delays: the pauses between polls in place of that, in seconds; the last one is repeated.
    :param deferred_at: when the task deferred, in seconds since the epoch: a trigger that runs again goes on with
        the pauses where it was, and logs that lines come again. Default: now.
    :param was_deferred: whether the task was deferred before, so that another trigger has followed the same log.
    :param deadline: when to stop waiting, in seconds since the epoch; ``None`` for never.
    :param limit: which argument of the task the deadline comes from; the event hands it back.
    :param cancel_on_kill: whether to end the invocation when a user acts on the task, and at the deadline.
    :param stream_logs: whether to write the invocation's log lines into the task's log.
    :param max_log_lines: how many of them at most.
    :param is_new: whether the invocation was started just now, so that Kernel may not list it yet.
    :param was_seen: whether a poll has found the invocation before.
    :param live_view_link: whether to link to the live view of the invocation's first browser.
    :param max_carried_bytes: how large a result the event may carry, in bytes. Default: none. It is in Airflow's
        database until the task has gone on.
    """

    resource: ClassVar[EndableInvocation] = EndableInvocation()

    def __init__(
        self,
        *,
        invocation_id: str,
        kernel_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        deadline: float | None = None,
        cancel_on_kill: bool = DEFAULT_CANCEL_ON_KILL,
        stream_logs: bool = True,
        max_log_lines: int = DEFAULT_MAX_LOG_LINES,
        is_new: bool = True,
        was_seen: bool = False,
        live_view_link: bool = False,
        poll_delays: Sequence[float] | None = None,
        deferred_at: float | None = None,
        was_deferred: bool = False,
        limit: str | None = None,
        max_carried_bytes: int = 0,
    ) -> None:
        super().__init__(external_id=invocation_id, kernel_conn_id=kernel_conn_id, cancel_on_kill=cancel_on_kill)
        self.invocation_id = invocation_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.stream_logs = stream_logs
        self.max_log_lines = max_log_lines
        self.is_new = is_new
        self.was_seen = was_seen
        self.live_view_link = live_view_link
        #: The address of the live view that is shown.
        self._live_view: str | None = None
        #: The address of the dashboard that is shown, where the trigger knows more than the worker.
        self._link: str | None = None
        self.poll_delays = poll_delays
        self.deferred_at = time.time() if deferred_at is None else deferred_at
        self.was_deferred = was_deferred
        self.limit = limit
        self.max_carried_bytes = max_carried_bytes

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_live_view": None, "_link": None}

    def serialize(self) -> tuple[str, dict[str, Any]]:
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
                "was_seen": self.was_seen,
                "live_view_link": self.live_view_link,
                "poll_delays": self.poll_delays,
                "deferred_at": self.deferred_at,
                "was_deferred": self.was_deferred,
                "limit": self.limit,
                "max_carried_bytes": self.max_carried_bytes,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        # Before the wait: at its end this triggerer may have no file left to open.
        from airflow_provider_kernel.triggers._event import InvocationEvent

        use_own_log()
        self.hold(pickup=time.time() - self.deferred_at)
        try:
            with self.interruptible():
                event = await self._outcome()
                if event["status"] == WaitStatus.FINISHED.value:
                    await self._hide_live_view()
                await self.hold_event()
        except asyncio.CancelledError:
            await self.on_cancelled()
            raise
        self.release()
        yield InvocationEvent({"invocation_id": self.invocation_id, **event})

    async def _outcome(self) -> dict[str, Any]:
        """Wait, and return what the event says of it."""
        # Imported late: the worker, which only describes the trigger, follows no log and shares no poller.
        from airflow_provider_kernel.triggers._polling import shared_poller, turns

        try:
            async with AsyncExitStack() as stack:
                async with turns().turn():
                    config = await stack.enter_async_context(self.own())
                    poller = await stack.enter_async_context(shared_poller(config))
                return {"status": WaitStatus.FINISHED.value, **await self._wait(poller)}
        except KernelInvocationTimeoutError as error:
            report = await self.end_overdue(type(error).__name__) if self.cancel_on_kill else None
            if report is None or not report.was_over:
                is_done = report is not None and report.is_done
                timeout = {"status": WaitStatus.TIMEOUT.value, "ended": is_done}
                return {**timeout, "deadline": self.deadline, "limit": self.limit}
        except KernelError as error:
            return {
                "status": WaitStatus.ERROR.value,
                "error": f"{type(error).__name__}: {error}",
                "ends_nothing": isinstance(error, KernelLostContactError) and error.ends_nothing,
                "deadline": self.deadline,
                "limit": self.limit,
            }
        return {"status": WaitStatus.FINISHED.value}

    def _carried(self, ended: Invocation, template: str) -> dict[str, Any]:
        """Return what the event carries of an invocation that has ended, with the link that the task shows."""
        carried = carry(ended, max_bytes=self.max_carried_bytes)
        if carried is None:
            return {}
        if self._link is None and needs_browser(template):
            return {"invocation": carried}  # the worker may have stored a better one
        link = self._link or dashboard_link(template, ended.id, app_name=ended.app_name)
        return {"invocation": carried, "dashboard": link}

    @asynccontextmanager
    async def open_client(self, config: KernelConfig) -> AsyncIterator[AsyncKernelClient]:
        from airflow_provider_kernel.triggers._polling import shared_poller

        async with shared_poller(config) as poller:
            yield poller.client

    async def _wait(self, poller: SharedPoller) -> dict[str, Any]:
        """Wait for the end, and return what the event carries of it."""
        client = poller.client
        dashboard_url = client.config.dashboard_url
        found: list[tuple[Invocation, Browser]] = []
        of_interest = self.task_instance is not None and (self.live_view_link or needs_browser(dashboard_url))
        # Until the event may be sent, a poll is of use to a link only.
        is_held = self.seconds_held() > 0 and not (of_interest or self.poll_delays)

        async def pause(seconds: float) -> None:
            while found:
                with side_information("The task has no link to its browser", self.log):
                    # In a thread: the call waits for the triggerer's supervisor, and the event loop must not.
                    await asyncio.to_thread(self._show_browser, dashboard_url, *found.pop())
            await subscription.sleep(seconds)

        carried: list[dict[str, Any]] = []

        def on_end(ended: Invocation) -> None:
            carried.append(self._carried(ended, dashboard_url))  # and forget the rest of it

        with poller.subscribe(
            self.invocation_id, interval=self.poll_interval, deadline=self.deadline, on_end=on_end
        ) as subscription:
            async with self._log_stream(client, on_end=subscription.poll_now) as stream:
                await client.run(
                    wait_for_invocation(
                        self.invocation_id,
                        poll_interval=self.poll_interval,
                        delays=self._held_delays(stream) if is_held else self._delays(),
                        polls_at_once=not is_held,
                        deadline=self.deadline,
                        is_new=self.is_new,
                        was_seen=self.was_seen,
                        on_change=self._log_status,
                        on_poll_error=lambda error: self.log.warning("%s; polling again", error),
                        on_browser=(lambda *browser: found.append(browser)) if of_interest else None,
                    ),
                    sleep=pause,
                    send=subscription.send,
                )
        if not carried and self.max_carried_bytes and (ended := await poller.fetch_ended(self.invocation_id)):
            on_end(ended)
        return carried[-1] if carried else {}

    def _log_status(self, invocation: Invocation) -> None:
        """Log a status that the task itself does not log, as it does the end, and before the deferral the start."""
        if not invocation.is_final and not (self.was_seen and invocation.status == InvocationStatus.RUNNING):
            self.log.info("Invocation %s %s", invocation.id, invocation.status_phrase)

    def _delays(self) -> Iterator[float] | None:
        if not self.poll_delays:
            return None
        return listed_delays(self.poll_delays, self.deferred_at)

    def _held_delays(self, stream: AsyncLogStream | None) -> Iterator[float]:
        has_stream = stream is not None and not stream.is_delayed
        return held_delays(self.poll_interval, self.seconds_held, has_stream=has_stream)

    def _show_browser(self, dashboard_url: str, invocation: Invocation, browser: Browser) -> None:
        if needs_browser(dashboard_url):
            link = dashboard_link(
                dashboard_url, invocation.id, app_name=invocation.app_name, session_id=browser.session_id
            )
            if link is not None:
                self._link = link
                DASHBOARD.write(self.task_instance, link, log=self.log)
        if self.live_view_link:
            self._live_view = browser.browser_live_view_url
            LIVE_VIEW.write(self.task_instance, self._live_view, log=self.log)

    async def _hide_live_view(self) -> None:
        address, self._live_view = self._live_view, None
        if address is not None:
            with side_information("The link to the live view is not hidden", self.log):
                hide = asyncio.to_thread(LIVE_VIEW.take_back, self.task_instance, address, log=self.log)
                await asyncio.wait_for(hide, _HIDE_SECONDS)

    async def _carry_out(self, order: Any) -> EndReport:
        report = await super()._carry_out(order)
        if report.is_done:
            await self._hide_live_view()  # no worker may come any more
        return report

    def _log_stream(
        self, client: AsyncKernelClient, *, on_end: Callable[[], None]
    ) -> AbstractAsyncContextManager[AsyncLogStream | None]:
        if not self.stream_logs:
            return nullcontext()
        from airflow_provider_kernel.task_log.afollow import AsyncLogStream
        from airflow_provider_kernel.task_log.writer import InvocationLog

        comes_again = self.was_deferred or time.time() - self.deferred_at >= _TAKEN_UP_SECONDS
        log = InvocationLog(self.log, self.invocation_id, max_lines=self.max_log_lines, may_come_again=comes_again)
        return AsyncLogStream(client, self.invocation_id, log=log, is_new=self.is_new, on_end=on_end)
