"""The poller that all triggers of an event loop share if they use the same connection."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from airflow_provider_kernel.client import AsyncKernelClient, Flow, Invocation, KernelConfig, Request
from airflow_provider_kernel.client.errors import KernelError, KernelTimeoutError
from airflow_provider_kernel.client.resources.invocations.bulk_status import MIN_LISTED, poll_list
from airflow_provider_kernel.client.resources.invocations.wait import Poll
from airflow_provider_kernel.client.retry import MAX_RETRY_AFTER_SECONDS, requested_pause
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.triggers._polling.rate_budget import SHARE, RateBudget

T = TypeVar("T")

log = get_logger(__name__)

_NEVER = float("inf")
#: A shorter interval counts as this, in seconds.
_MIN_INTERVAL = 0.01
#: An answer that comes before it is due counts as fresh for this many pauses.
_TOLERANCE = 1.25
#: How long the poll at the deadline, which is the last one, may take.
_LAST_POLL_SECONDS = 1.0
#: How long no list is read after one that failed or showed too little, unless the subscriptions double.
_AVOID_LIST_SECONDS = 60.0
#: The fields that are kept of an invocation: no payload and no output, since there may be thousands.
_REMEMBERED = {"id", "status", "app_name", "started_at", "finished_at"}


class Subscription:
    """
    Sleep and send for ``wait_for_invocation``, whose polls then need no request of their own.

    A pause is part of the poll that follows it, so that the poller may answer it early.
    """

    def __init__(
        self,
        poller: SharedPoller,
        invocation_id: str,
        deadline: float | None,
        on_end: Callable[[Invocation], object],
    ) -> None:
        self.known: Invocation | None = None
        #: When an answer is due, by the event loop's clock; never while it is being fetched.
        self.due_at = _NEVER
        self._poller = poller
        self._invocation_id = invocation_id
        self._on_end = on_end
        self._deadline = poller.now() + (_NEVER if deadline is None else deadline - time.time())
        self._returned: Invocation | None = None
        self._answer: asyncio.Future[Invocation] | None = None
        self._pause = 0.0
        self._return_at = 0.0
        self._is_urgent = False

    async def sleep(self, seconds: float) -> None:
        self._pause = seconds

    async def send(self, request: Request[Any]) -> Any:
        """Send a request. A poll waits for the poller's answer, or raises why there is none."""
        if not isinstance(request, Poll):
            return await self._poller.client.send(request)
        self._returned = await self._next_answer() if self.known is self._returned else self.known
        return self._returned

    async def _next_answer(self) -> Invocation:
        answer: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._return_at = self._poller.now() + self._pause
        self._set_due(self._return_at)
        if self._is_urgent:
            self.poll_now()
        left = max(0.0, self._deadline - self._poller.now()) + _LAST_POLL_SECONDS
        try:
            await asyncio.wait({answer}, timeout=left if left < _NEVER else None)
        finally:
            self._answer, self.due_at = None, _NEVER
        if not answer.done():
            raise KernelTimeoutError("the last poll was not answered in time")
        return answer.result()

    def _set_due(self, due_at: float) -> None:
        self.due_at = min(due_at, self._deadline)
        self._poller.wake(self.due_at)

    def poll_now(self) -> None:
        """End the pause, because the status has probably changed: fetch the invocation by itself."""
        # An answer that is being fetched may be from before the change.
        self._is_urgent = self.due_at == _NEVER
        if not self._is_urgent:
            self._return_at = self._poller.now()
            if self._poller.fetch_now(self._invocation_id):
                self.due_at = _NEVER
            else:
                self._set_due(self._return_at)

    def publish(self, invocation: Invocation, *, is_whole: bool = False) -> None:
        """
        Return an answer to the flow if the status is new or due; else it counts as fresh for a while.

        :param is_whole: whether it is from a GET of its own, with its output, rather than from a list.
        """
        if is_whole and invocation.is_final:
            self._on_end(invocation)
        if self.known is None or self.known.status != invocation.status:
            self.known = Invocation(**invocation.model_dump(include=_REMEMBERED))
        elif self._poller.now() < self._return_at:
            if self._answer is not None:
                self._set_due(self._poller.now() + self._pause * _TOLERANCE)
            return
        if self._answer is not None:
            self._answer.set_result(self.known)
            self._answer = None

    def fail(self, error: Exception) -> None:
        if self._answer is not None and self.due_at == _NEVER:
            self._answer.set_exception(error)
            self._answer = None


class SharedPoller:
    """Polls for all subscriptions of a connection; the docstring of the package says how."""

    def __init__(self, config: KernelConfig) -> None:
        self.client = AsyncKernelClient(config)
        self.users = 0
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._subscriptions: defaultdict[str, list[Subscription]] = defaultdict(list)
        self._budget = RateBudget()
        self._no_list_before = 0.0
        self._too_few = 0
        self._is_due = asyncio.Event()
        self._next_round_at = 0.0
        self._tasks: set[asyncio.Task[object]] = set()

    def serves(self, loop: asyncio.AbstractEventLoop, config: KernelConfig) -> bool:
        """
        Whether this is the poller of a connection.

        Not of another one with equal settings: its key may be replaced at another time. After a change of its own
        connection, the poller is the one for the new settings.
        """
        present = self.client.config
        return loop is self._loop and config == present and _name(config) == _name(present)

    @contextmanager
    def subscribe(
        self,
        invocation_id: str,
        *,
        interval: float,
        deadline: float | None = None,
        on_end: Callable[[Invocation], object] = lambda invocation: None,
    ) -> Iterator[Subscription]:
        """
        Subscribe while the block runs.

        :param deadline: when the last poll is due, in seconds since the epoch.
        :param on_end: gets the ended invocation with its output, if a GET of its own has shown it.
        """
        subscription = Subscription(self, invocation_id, deadline, on_end)
        rate = 1 / max(interval, _MIN_INTERVAL)
        self._subscriptions[invocation_id].append(subscription)
        self._budget.individual_rate += rate
        if not self._tasks:
            self._spawn(self._run())
        try:
            yield subscription
        finally:
            self._budget.individual_rate -= rate
            self._subscriptions[invocation_id].remove(subscription)
            if not self._subscriptions[invocation_id]:
                del self._subscriptions[invocation_id]
            if not self._subscriptions:
                for task in self._tasks:
                    task.cancel()
                self._tasks = set()

    async def run(self, flow: Flow[T]) -> T:
        """Carry out an asset watcher's flow. The flow should :meth:`publish` the invocations that it reads."""
        await asyncio.sleep(self._budget.free_at - self.now())
        try:
            return await self.client.run(flow)
        except KernelError as error:
            self._obey_retry_after(error)
            raise

    def publish(self, invocation: Invocation, *, is_whole: bool = False) -> None:
        """Pass an invocation's status on to its subscriptions; ``is_whole`` as for :meth:`Subscription.publish`."""
        for subscription in self._subscriptions.get(invocation.id, ()):
            subscription.publish(invocation, is_whole=is_whole)

    def wake(self, due_at: float) -> None:
        if max(due_at, self._budget.free_at) < self._next_round_at:
            self._is_due.set()

    def fetch_now(self, invocation_id: str) -> bool:
        """
        Fetch one invocation outside of the rounds, and publish it.

        :return: whether it is fetched. During a ``Retry-After`` it is not, since others would be, too.
        """
        if self._budget.is_paused(self.now()):
            return False
        self._spawn(self._fetch(invocation_id))
        return True

    async def fetch_ended(self, invocation_id: str) -> Invocation | None:
        """Fetch what a list shows as ended, with its output; ``None`` where it cannot be had at once."""
        if self._budget.is_paused(self.now()):
            return None
        try:
            return await self.client.send(Poll(invocation_id))
        except KernelError as error:
            self._obey_retry_after(error)
            return None

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        # In a context of its own: Airflow writes what is logged in a trigger's context into that trigger's log.
        task = contextvars.Context().run(asyncio.create_task, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        while True:
            self._is_due.clear()
            due_at = min(s.due_at for group in self._subscriptions.values() for s in group)
            self._next_round_at = max(due_at, self._budget.free_at)
            if self._next_round_at > self.now():
                timer = asyncio.get_running_loop().call_at(self._next_round_at, self._is_due.set)
                await self._is_due.wait()
                timer.cancel()
                continue
            due = set()
            for invocation_id, group in self._subscriptions.items():
                for subscription in group:
                    if subscription.due_at <= self.now():
                        subscription.due_at = _NEVER
                        due.add(invocation_id)
            try:
                await self._poll(due)
            except Exception as error:  # noqa: BLE001 (a subscription always gets an answer, also after a bug)
                self._fail(due, error)

    async def _poll(self, due: set[str]) -> None:
        missing, share = due, 1.0
        count = len(self._subscriptions)
        if count >= MIN_LISTED and (self.now() >= self._no_list_before or count > self._too_few):
            known = {invocation_id: group[0].known for invocation_id, group in self._subscriptions.items()}
            missing, share = set(known), SHARE
            try:
                is_useful = await self.client.run(poll_list(known, missing, self.publish), send=self._send_page)
            except KernelError as error:
                if self._obey_retry_after(error) or not (error.permanent or await self._fetch(min(due))):
                    self._fail(due, error)
                    return
                log.warning(
                    "The list of invocations cannot be read; each is polled by itself for a while: %s", error
                )
                is_useful = False
            if not is_useful:
                self._no_list_before, self._too_few = self.now() + _AVOID_LIST_SECONDS, 2 * len(known)
                missing, share = missing & due, 1.0
        if count > 1:
            self._budget.charge(len(missing & due), self.now(), share=share)
        for invocation_id in missing:
            self._spawn(self._fetch(invocation_id))

    async def _send_page(self, request: Request[Any]) -> Any:
        # The list of all, without a status, takes one request at most for each invocation that has ended, once.
        if "status" in dict(request.query):
            self._budget.charge(1, self.now())
        return await self.client.send(request)

    async def _fetch(self, invocation_id: str) -> bool:
        try:
            self.publish(await self.client.send(Poll(invocation_id)), is_whole=True)
        except Exception as error:  # noqa: BLE001 (a subscription always gets an answer, also after a bug)
            self._obey_retry_after(error)
            self._fail({invocation_id}, error)
            return False
        return True

    def _fail(self, invocation_ids: set[str], error: Exception) -> None:
        for invocation_id in invocation_ids:
            for subscription in self._subscriptions.get(invocation_id, ()):
                subscription.fail(error)

    def _obey_retry_after(self, error: Exception) -> bool:
        pause = requested_pause(error, at_most=MAX_RETRY_AFTER_SECONDS)
        if pause is not None:
            self._budget.pause(pause, self.now())
        return pause is not None


def _name(config: KernelConfig) -> str | None:
    return None if config.source is None else config.source.name


_pollers: list[SharedPoller] = []


@asynccontextmanager
async def shared_poller(config: KernelConfig) -> AsyncIterator[SharedPoller]:
    """Borrow the running loop's poller for a connection, as it is at present; its last user closes it."""
    loop = asyncio.get_running_loop()
    poller = next((each for each in _pollers if each.serves(loop, config)), None)
    if poller is None:
        poller = SharedPoller(config)
        _pollers.append(poller)
    poller.users += 1
    try:
        yield poller
    finally:
        poller.users -= 1
        if not poller.users:
            _pollers.remove(poller)
            # Shielded: a triggerer may cancel a trigger several times, and the close must complete.
            await asyncio.shield(poller.client.close())
