"""
One look for many waits: what a list of Kernel's tells, it tells to all triggers of an event loop that wait for it.

Airflow 3.3 has a shared stream for triggers, which tells everything to everybody and exists on no older version.
This one is the same on all of them, and wakes only those that there is news for.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.errors import KernelAPIError, KernelError, KernelTimeoutError
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.resources.invocations.bulk_status import list_active, list_recently_ended
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.resources.invocations.wait import MAX_RETRY_AFTER_SECONDS, poll_request
from airflow_provider_kernel.client.timestamps import parse_timestamp
from airflow_provider_kernel.triggers.pace import Pace

log = logging.getLogger(__name__)

#: A wait's pauses are random within a tenth, so that what is a tenth older than its pause still is new to it.
_TOLERANCE = 1.1
#: Whoever wants to look without a pause counts as this, in seconds.
_LEAST_INTERVAL = 0.01
#: How long one waits for a look at most, whatever holds it up.
_LOOK_SECONDS = 150.0

# By client, and so by event loop and configuration: see shared_client().
_all: dict[AsyncKernelClient, SharedLooks] = {}


@contextmanager
def waiting_for(
    client: AsyncKernelClient, invocation_id: str, *, interval: float, deadline: float | None = None
) -> Iterator[Wait]:
    """
    Take part in the looks of all that use a client.

    :param client: the client; it must stay open for as long as the block runs.
    :param invocation_id: the invocation to look at.
    :param interval: seconds between two looks in the long run.
    :param deadline: when a look is of no more use, in seconds since the epoch.
    """
    looks = _all.get(client)
    if looks is None:
        looks = _all[client] = SharedLooks(client)
    wait = Wait(looks, invocation_id, max(interval, _LEAST_INTERVAL), deadline)
    looks.join(wait)
    try:
        yield wait
    finally:
        looks.leave(wait)
        if looks.is_idle:
            _all.pop(client, None)


class Wait:
    """One trigger's part in the looks of all."""

    def __init__(self, looks: SharedLooks, invocation_id: str, interval: float, deadline: float | None) -> None:
        self.invocation_id = invocation_id
        self.interval = interval
        #: What is known of the invocation, without what it was given and gave: there may be thousands of them.
        self.known: Invocation | None = None
        #: Whether a list has shown it, so that it means something when the next one does not.
        self.was_listed = False
        self._looks = looks
        self._request = poll_request(invocation_id)
        self._deadline = deadline
        self._known_at = float("-inf")
        self._good_for = 0.0
        self._is_nudged = False
        self._is_due = False
        self._answer: asyncio.Future[Invocation] | None = None
        self._rest: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, request: Request[Any]) -> Any:
        """
        Send a request, but a look at the invocation only when nobody knows how it stands.

        :param request: the request.
        :return: its answer.
        :raises KernelError: when there is none.
        """
        if request != self._request:
            return await self._looks.client.send(request)
        if self.known is not None and (self.known.is_final or time.monotonic() - self._known_at <= self._good_for):
            return self.known
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._looks.ask(self)
        timer = loop.call_later(self._patience(), self.fail, KernelTimeoutError("no look at it came in time"))
        try:
            return await self._answer
        finally:
            timer.cancel()
            self._answer = None

    async def rest(self, seconds: float, *, until_news: bool = False) -> None:
        """
        Sleep, unless there is news.

        :param seconds: how long; what is known by then is known well enough if it is no older.
        :param until_news: whether to sleep on for as long as others' looks keep what is known that new.
        """
        # The look at the deadline is the last one, and always a new one.
        is_last = self._deadline is not None and time.time() + seconds >= self._deadline
        self._good_for = 0.0 if is_last else seconds * _TOLERANCE
        if not (self._is_nudged or (self.known is not None and self.known.is_final)):
            self._rest = asyncio.get_running_loop().create_future()
            # Not the short pauses of the beginning, which get longer from look to look.
            self._sleep(seconds, is_steady=until_news and seconds >= 0.8 * self.interval)
            try:
                await self._rest
            finally:
                if self._timer is not None:
                    self._timer.cancel()
                self._rest = self._timer = None
                self._is_due = False
        if self._is_nudged:
            # Once: the look that follows may still be too early.
            self._is_nudged, self._known_at = False, float("-inf")

    def _sleep(self, seconds: float, *, is_steady: bool) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._wake, is_steady)

    def _wake(self, is_steady: bool) -> None:
        # Of thousands, most would be woken only to be told what they know, or to ask for what all ask for.
        fresh = self._known_at + self.interval - time.monotonic()
        left = float("inf") if self._deadline is None else self._deadline - time.time()
        if left <= 0:
            self._good_for = 0.0
        if not is_steady or left <= 0:
            _end(self._rest)
        elif fresh > 0:
            self._sleep(min(fresh, left), is_steady=True)
        elif not self._is_due:
            self._is_due = True
            self._looks.ask(self)
            self._sleep(min(self.interval, left), is_steady=True)
        else:
            _end(self._rest)

    def nudge(self) -> None:
        """Say that there may be news: the rest ends, and the next look is a new one."""
        self._is_nudged = True
        _end(self._rest)

    @property
    def is_asking(self) -> bool:
        """Whether it wants a look, be it awake or in its sleep."""
        return self._is_due or (self._answer is not None and not self._answer.done())

    @property
    def started(self) -> datetime | None:
        """When the invocation has started, as far as it is known."""
        return parse_timestamp(self.known.started_at) if self.known is not None else None

    def tell(self, invocation: Invocation) -> None:
        """
        Tell how the invocation stands.

        :param invocation: the invocation.
        """
        self._known_at, self._is_due = time.monotonic(), False
        if self.known is None or self.known.status != invocation.status:
            self.known = _slim(invocation)
            _end(self._rest)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self.known)

    def fail(self, error: Exception) -> None:
        """
        Tell why there was no look.

        :param error: why.
        """
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        elif self._is_due:
            # It wakes up, and asks for itself.
            self._is_due = False
            _end(self._rest)

    def _patience(self) -> float:
        if self._deadline is None:
            return _LOOK_SECONDS
        return min(_LOOK_SECONDS, max(1.0, self._deadline - time.time()))


class SharedLooks:
    """
    The looks of all that wait with one client.

    :param client: the client.
    """

    def __init__(self, client: AsyncKernelClient) -> None:
        self.client = client
        self._pace = Pace()
        self._waits: dict[str, list[Wait]] = {}
        self._asking: list[Wait] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Task[None] | None = None

    def join(self, wait: Wait) -> None:
        """
        Take a wait in.

        :param wait: the wait.
        """
        self._waits.setdefault(wait.invocation_id, []).append(wait)
        self._pace.joined(wait.interval)

    def leave(self, wait: Wait) -> None:
        """
        Let a wait go; the last one ends what is under way.

        :param wait: the wait.
        """
        self._pace.left(wait.interval)
        self._waits[wait.invocation_id].remove(wait)
        if not self._waits[wait.invocation_id]:
            del self._waits[wait.invocation_id]
        if self.is_idle:
            for task in self._tasks:
                task.cancel()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return not self._waits

    def ask(self, wait: Wait) -> None:
        """
        Have an answer for a wait.

        :param wait: the wait, which is told.
        """
        self._asking.append(wait)
        if self._server is None or self._server.done():
            self._server = self._spawn(self._serve())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # In a context of its own: Airflow writes what is logged in a trigger's context into that trigger's log.
        task: asyncio.Task[None] = contextvars.Context().run(asyncio.create_task, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _serve(self) -> None:
        while self._asking:
            if len(self._waits) > 1:
                await asyncio.sleep(self._pace.rest(time.monotonic()))
            asking, self._asking = [wait for wait in self._asking if wait.is_asking], []
            if not asking:
                continue
            try:
                await self._answer(asking)
            except Exception as error:  # noqa: BLE001 (whoever asks gets an answer, also of a bug)
                self._fail(asking, error)

    async def _answer(self, asking: list[Wait]) -> None:
        missing: set[str] = set()
        if self._pace.prefers_the_list(
            waiting=len(self._waits),
            due=len(asking),
            interval=min(wait.interval for wait in asking),
            now=time.monotonic(),
        ):
            try:
                missing = await self._call_the_roll()
            except KernelError as error:
                if not await self._is_the_lists_fault(error, asking[0]):
                    self._fail(asking, error)
                    return
                self._pace.list_failed(time.monotonic())
                log.warning(
                    "The list of invocations cannot be read, so that each is looked at by itself for a while: %s",
                    error,
                )
        wanted = {wait.invocation_id for wait in asking if wait.is_asking} - missing
        self._pace.spent(len(wanted), time.monotonic())
        for invocation_id in missing | wanted:
            self._spawn(self._look(invocation_id))

    async def _call_the_roll(self) -> set[str]:
        """Look at all, and return those of which the list no longer tells."""
        # Who joins meanwhile may rightly be missing.
        wanted = {invocation_id: waits[0] for invocation_id, waits in self._waits.items()}
        # What is running is never queued again.
        all_run = all(w.known is not None and w.known.status == InvocationStatus.RUNNING for w in wanted.values())
        statuses = {InvocationStatus.RUNNING.value} | (set() if all_run else {InvocationStatus.QUEUED.value})
        roll = await self.client.run(list_active(wanted, statuses=statuses, most=len(wanted)))
        now = time.monotonic()
        self._pace.called(roll.requests, now, is_complete=roll.is_complete)
        self._pace.spent(roll.requests, now)
        for invocation in roll.found.values():
            wanted[invocation.id].was_listed = True
            self._tell(invocation)
        if not roll.is_complete:
            return set()
        if sum(not wait.was_listed for wait in wanted.values()) > len(roll.found):
            self._pace.list_told_too_little(now)
        gone = {id_: wait.started for id_, wait in wanted.items() if id_ not in roll.found and wait.was_listed}
        # Not held against the pace: it is at most one request for each that has ended, once.
        ended = await self.client.run(list_recently_ended(gone))
        for invocation in ended.found.values():
            self._tell(invocation)
        return gone.keys() - ended.found.keys()

    async def _look(self, invocation_id: str) -> None:
        try:
            self._tell(await self.client.send(poll_request(invocation_id)))
        except Exception as error:  # noqa: BLE001 (whoever asks gets an answer, also of a bug)
            self._note_refusal(error)
            self._fail(self._waits.get(invocation_id, []), error)

    async def _is_the_lists_fault(self, error: KernelError, wait: Wait) -> bool:
        """Tell a list that cannot be read from a server that cannot be reached, by asking for one invocation."""
        if self._note_refusal(error):
            return False
        try:
            self._tell(await self.client.send(poll_request(wait.invocation_id)))
        except KernelError:
            return error.permanent
        return True

    def _note_refusal(self, error: Exception) -> bool:
        """Slow down all when the server asks one for it."""
        if not isinstance(error, KernelAPIError) or error.retry_after is None:
            return False
        self._pace.refused(min(error.retry_after, MAX_RETRY_AFTER_SECONDS), time.monotonic())
        return True

    def _tell(self, invocation: Invocation) -> None:
        for wait in self._waits.get(invocation.id, []):
            wait.tell(invocation)

    @staticmethod
    def _fail(waits: list[Wait], error: Exception) -> None:
        for wait in waits:
            wait.fail(error)


def _slim(invocation: Invocation) -> Invocation:
    return Invocation(
        id=invocation.id,
        status=invocation.status,
        app_name=invocation.app_name,
        started_at=invocation.started_at,
        finished_at=invocation.finished_at,
    )


def _end(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
