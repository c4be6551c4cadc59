"""
The base of triggers that wait for an object which a deferred task owns. It ends the object when a user acts on the
task, and when its deadline has passed.

The triggerer calls ``on_kill`` when a user marks or clears a deferred task, but also when another triggerer has
taken the trigger over. So the trigger first asks Airflow whether the task still waits for this object. Only if it
does not, the object is ended.

An end is a task of its own on the event loop. No cancellation of the trigger reaches it: only the end of the loop
does, when the triggerer stops. It then has one last attempt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, ClassVar, NamedTuple

from airflow.triggers.base import BaseTrigger

from airflow_provider_kernel import _compat
from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelConfigurationError
from airflow_provider_kernel.client.outage import Outage
from airflow_provider_kernel.client.safe_logger import SafeLogMixin
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle import next_in_line
from airflow_provider_kernel.lifecycle.ending import TRIGGER_END_SECONDS, end_within, for_ending
from airflow_provider_kernel.lifecycle.inline import has_no_triggerer, stopped_by_signal
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.min_deferral import seconds_to_hold
from airflow_provider_kernel.lifecycle.ownership import is_deferred_on, is_of_another_try
from airflow_provider_kernel.lifecycle.resource import EndableResource, EndReason, EndReport, end_failed
from airflow_provider_kernel.lifecycle.task_instances import call_from_loop, preload_state_api

#: How long to wait for the state of the task; Airflow may be asked about many tasks at once.
_STATE_SECONDS = 60.0
#: How long the event waits for Airflow's answer and the end together, once the deadline has passed.
_OVERDUE_SECONDS = 30.0
#: How long the last attempt may take, when the triggerer stops: it is killed soon.
_LAST_ATTEMPT_SECONDS = 2.0
#: How long an end is tried without a triggerer: a user waits for the command to stop.
_INLINE_SECONDS = 4.0
#: How long an attempt may take that has begun when the time is over.
_ATTEMPT_SECONDS = 20.0

#: The first pause before a connection that could not be used is read again.
_CONNECTION_PAUSE_SECONDS = 2.0

#: Ends under way. The event loop itself keeps only weak references to its tasks.
_ends: set[asyncio.Task[EndReport | None]] = set()


class _Order(NamedTuple):
    """
    How to end the object.

    :param reason: an :class:`EndReason`, perhaps with a detail.
    :param seconds: when the last attempt starts, after the first one.
    :param attempt_seconds: how long the last attempt may take.
    :param next_in_line: who ends the object if this fails, as a noun phrase.
    :param urgent: whether the process is about to stop.
    """

    reason: str
    seconds: float
    attempt_seconds: float
    next_in_line: str
    urgent: bool = False


_KILLED = _Order(EndReason.TASK_KILLED, TRIGGER_END_SECONDS, _ATTEMPT_SECONDS, next_in_line.AFTER_KILLED_TRIGGER)
_OVERDUE = _Order(
    EndReason.TASK_ENDED_EARLY, TRIGGER_END_SECONDS, _ATTEMPT_SECONDS, next_in_line.AFTER_OVERDUE_TRIGGER
)
_INLINE = _Order(EndReason.TASK_KILLED, _INLINE_SECONDS, _LAST_ATTEMPT_SECONDS, next_in_line.KERNEL, urgent=True)


class OwningTrigger(SafeLogMixin, BaseTrigger):
    """
    Own the object of a deferred task.

    A subclass waits in ``run()``, in the block of :meth:`interruptible`, and calls the other methods there.
    """

    resource: ClassVar[EndableResource[Any]]

    def __init__(self, *, external_id: str, kernel_conn_id: str, cancel_on_kill: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.external_id = external_id
        self.kernel_conn_id = kernel_conn_id
        self.cancel_on_kill = cancel_on_kill
        #: The client for the wait. Its settings hold the newest key that it has met.
        self._client: AsyncKernelClient | None = None
        self._is_released = False
        self._held_until = 0.0
        self._ending: asyncio.Task[EndReport | None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to one run, and with it the key."""
        state = {**self.__dict__, "_client": None, "_is_released": False, "_held_until": 0.0, "_ending": None}
        state.pop("_log", None)
        return state

    def open_client(self, config: KernelConfig) -> AbstractAsyncContextManager[AsyncKernelClient]:
        """Return a client for an end, which may still be under way when ``run()`` has ended."""
        raise NotImplementedError

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a SIGTERM cancel ``run()`` where there is no triggerer; to be entered first in ``run()``."""
        with stopped_by_signal(self.external_id):
            yield

    @asynccontextmanager
    async def own(self) -> AsyncIterator[KernelConfig]:
        """
        Begin to own the object, and give the connection, of which a client is open while the block runs.

        :raises KernelLostContactError: when the connection could not be read, or no client be opened, for minutes.
        """
        async with AsyncExitStack() as stack:
            self._client = await self._open_connection(stack)
            if self.cancel_on_kill and self.task_instance is not None:
                preload_state_api(self.task_instance)
            yield self._client.config

    async def _open_connection(self, stack: AsyncExitStack, *, is_endless: bool = False) -> AsyncKernelClient:
        outage = Outage(
            f"{self.resource.kind} {self.external_id}",
            was_seen=True,  # by the worker
            is_endless=is_endless,
            on_error=lambda error: self.log.warning("The connection cannot be used: %s; trying again", error),
        )
        while True:
            try:
                config = await KernelHook(self.kernel_conn_id).aget_config()
                # The certificates and proxies of this machine may be at fault, too.
                client = await stack.enter_async_context(self.open_client(config))
            except KernelConfigurationError as error:
                pause = outage.failed(error, _CONNECTION_PAUSE_SECONDS)
            except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from giving the connection)
                pause = outage.failed(KernelConfigurationError(_text(error)), _CONNECTION_PAUSE_SECONDS)
            else:
                return client
            await asyncio.sleep(pause)

    async def hold_event(self) -> None:
        """Wait until the task may be queued again; to be called before :meth:`release`: a kill may still come."""
        await asyncio.sleep(self.seconds_held())

    def hold(self, *, pickup: float) -> None:
        """
        Begin the time in which no event may be sent; to be called when ``run()`` begins.

        :param pickup: the seconds from the deferral until then.
        """
        self._held_until = time.monotonic() + seconds_to_hold(pickup=pickup, logger=self.log)

    def seconds_held(self) -> float:
        """Return how much of that time is left."""
        return max(0.0, self._held_until - time.monotonic())

    def release(self) -> None:
        """Leave the object to the worker; to be called before the event. A trigger may linger after its event."""
        self._is_released = True

    async def end_overdue(self, why: str) -> EndReport | None:
        """
        End the object because the deadline has passed; to be called before the event.

        :param why: the error that the task will end with.
        :return: ``None`` when that takes long; it then goes on in the background. Also ``None`` when the object is
            left alone.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + _OVERDUE_SECONDS
        # A triggerer that was suspended comes back with the deadline of a try that is over.
        if await self._ask(
            lambda ti: is_of_another_try(self.resource.kind, ti, self.external_id),
            _OVERDUE_SECONDS,
            if_unknown=False,
        ):
            self.log.info("Another try of the task owns %s %s", self.resource.kind, self.external_id)
            return None
        order = _OVERDUE._replace(reason=EndReason.TASK_ENDED_EARLY.because(why))
        ending = self._begin(partial(self._carry_out, order))
        await asyncio.wait({ending}, timeout=max(0.0, until - clock()))
        if ending.done():
            return ending.result()
        self.log.warning(
            "%s %s has not ended after %.0f s; the trigger goes on in the background, and the task is resumed",
            self.resource.kind.capitalize(),
            self.external_id,
            _OVERDUE_SECONDS,
        )
        return None

    async def on_kill(self) -> None:
        """
        End the object, because a user acted on the task.

        The triggerer cancels this call about once a second. So the end is a task of its own, and this waits for it
        through all cancellations.
        """
        # In doubt it ends: a repeated run costs less than an object that nobody waits for.
        await self._end_shielded(partial(self._end_unless_awaited, if_unknown=True))

    async def on_cancelled(self) -> None:
        """End the object where no ``on_kill`` is called; to be called when ``run()`` is cancelled."""
        if has_no_triggerer():
            if self._ending is not None:
                self._ending.cancel()  # makes it urgent
            await self._end_shielded(partial(self._carry_out, _INLINE))
        elif not _compat.triggers_have_on_kill():
            # The triggerer may just stop, in which case Airflow cannot always be asked.
            await self._end_shielded(partial(self._end_unless_awaited, if_unknown=False))

    async def _end_shielded(self, end: Callable[[], Coroutine[Any, Any, EndReport | None]]) -> None:
        if self._is_released or not self.cancel_on_kill:
            return
        ending = self._begin(end)
        while not ending.done():
            try:
                await asyncio.wait({ending})
            except asyncio.CancelledError:
                continue

    def _begin(self, end: Callable[[], Coroutine[Any, Any, EndReport | None]]) -> asyncio.Task[EndReport | None]:
        if self._ending is None or _has_failed(self._ending):
            self._ending = asyncio.create_task(end())
            _ends.add(self._ending)
            self._ending.add_done_callback(_ends.discard)
        return self._ending

    async def _end_unless_awaited(self, *, if_unknown: bool) -> EndReport | None:
        order = _KILLED
        try:
            is_awaited = await self._is_still_awaited(if_unknown=not if_unknown)
        except asyncio.CancelledError:  # the triggerer stops
            is_awaited = not if_unknown
            order = _at_last(order)
        if is_awaited:
            self.log.info(
                "The task still waits for %s %s elsewhere; it is left alone", self.resource.kind, self.external_id
            )
            return None
        return await self._carry_out(order)

    async def _carry_out(self, order: _Order) -> EndReport:
        try:
            report = await self._attempt(order)
        except (asyncio.CancelledError, KeyboardInterrupt, RuntimeError):
            # A second Ctrl-C may hit any line. In one of anyio's cancel scopes it comes out as a RuntimeError.
            self.log.warning(
                "The process stops before %s %s has ended; there is time for one more attempt",
                self.resource.kind,
                self.external_id,
            )
            try:
                report = await self._attempt(_at_last(order))
            except RuntimeError as error:
                report = self._failed(order, error)
        report.log(self.log)
        return report

    async def _attempt(self, order: _Order) -> EndReport:
        # In a task of its own: anyio's cancel scopes belong to a task, and an earlier attempt's may be broken.
        end = asyncio.create_task(self._end(order))
        try:
            return await asyncio.wait_for(end, order.seconds + order.attempt_seconds)
        except RuntimeError:
            raise
        except Exception as error:  # noqa: BLE001 (logged by the caller, or nowhere)
            return self._failed(order, error)

    def _failed(self, order: _Order, error: Exception) -> EndReport:
        return end_failed(
            self.resource.kind, self.external_id, error, text=_text(error), next_in_line=order.next_in_line
        )

    async def _end(self, order: _Order) -> EndReport:
        # run() may have been killed before it had read the connection. The time of the order bounds this, too.
        async with AsyncExitStack() as stack:
            opened = self._client or await self._open_connection(stack, is_endless=True)
            config = for_ending(opened.config, urgent=order.urgent)
            client = await stack.enter_async_context(self.open_client(config))
            return await client.run(
                end_within(
                    order.seconds,
                    self.resource,
                    StartRecord.naming(self.external_id),
                    order.reason,
                    urgent=order.urgent,
                    next_in_line=order.next_in_line,
                    logger=self.log,
                )
            )

    async def _is_still_awaited(self, *, if_unknown: bool) -> bool:
        kind = self.resource.kind

        def is_still_awaited(ti: Any) -> bool:
            # The next try may run, and not have deferred yet.
            return is_deferred_on(kind, ti, self.external_id) or is_of_another_try(kind, ti, self.external_id)

        return await self._ask(is_still_awaited, _STATE_SECONDS, if_unknown=if_unknown)

    async def _ask(self, question: Callable[[Any], bool], seconds: float, *, if_unknown: bool) -> bool:
        ti = self.task_instance
        if ti is None:
            return if_unknown
        try:
            return await asyncio.wait_for(call_from_loop(lambda: question(ti)), seconds)
        except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
            self.log.warning("The state of the task could not be fetched: %s", _text(error))
            return if_unknown


def _has_failed(ending: asyncio.Task[EndReport | None]) -> bool:
    """Whether an end is over, and the object may still be there."""
    if not ending.done():
        return False
    report = None if ending.cancelled() or ending.exception() else ending.result()
    return report is None or not report.is_done


def _at_last(order: _Order) -> _Order:
    return order._replace(seconds=0.0, attempt_seconds=_LAST_ATTEMPT_SECONDS, urgent=True)


def _text(error: Exception) -> str:
    return "no answer in time" if isinstance(error, asyncio.TimeoutError) else str(error) or type(error).__name__
