"""How Airflow starts, finds and ends an invocation that it owns, and fetches one that a trigger waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from airflow_provider_kernel.client.errors import (
    KernelError,
    KernelLostContactError,
    KernelTaskKilledError,
)
from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.client.http.pagination import Page
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.outage import is_refused_access
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.find_started import (
    LOOKUP_SECONDS,
    StartCriteria,
    correlation_mark,
    find_started,
    single_match,
)
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.resources.invocations.time_limits import LONGEST_LIFE_SECONDS
from airflow_provider_kernel.client.resources.invocations.wait import wait_for_invocation
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.client.timestamps import utc_now
from airflow_provider_kernel.client.unset import UNSET, Unset
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.invocation_arguments import check_correlation
from airflow_provider_kernel.lifecycle.ledger import StartRecord, fingerprint
from airflow_provider_kernel.lifecycle.ownership import fetch_ownerships
from airflow_provider_kernel.lifecycle.resource import EndReport, StartMark, WaitStatus
from airflow_provider_kernel.lifecycle.task_instances import is_mapped
from airflow_provider_kernel.validation import DEFAULT_POLL_INTERVAL

log = get_logger(__name__)

#: No active invocation is older: Kernel ends one after an hour.
_MAX_AGE = "2h"


class EndableInvocation:
    """
    An invocation of which only the id is known: enough to end it, not to start or find one.

    :param details: goes into the invocation's output beside the reason, when it is ended.
    """

    kind: ClassVar[str] = "invocation"

    def __init__(self, details: Mapping[str, Any] | None = None) -> None:
        self._details = details

    def get(self, external_id: str) -> Flow[Invocation]:
        return (yield from requests.get_invocation(external_id))

    def is_over(self, found: Invocation) -> bool:
        return found.is_final

    def external_id(self, found: Invocation) -> str:
        return found.id

    def describe(self, found: Invocation) -> str:
        return str(found.status)

    def list_active(self) -> Iterable[Request[Page[Invocation]]]:
        return _list_active(since=_MAX_AGE)

    def end(self, record: StartRecord, reason: str, *, urgent: bool) -> Flow[EndReport]:
        """Cancel it, and end its browsers, which cost money, too. The reason becomes the invocation's output."""
        if record.external_id is None:
            return EndReport(found=False)
        cancellation = yield from flows.cancel_invocation(
            record.external_id, str(reason), urgent=urgent, details=self._details
        )
        if cancellation.browsers_error is not None:
            raise cancellation.browsers_error
        # An earlier attempt of this end may have cancelled it, and its answer got lost.
        was_over = cancellation.was_over and str(reason) not in (cancellation.invocation.output or "")
        return EndReport(tuple(cancellation.report()), was_over=was_over)


class MarkedInvocation(EndableInvocation):
    """
    An invocation whose payload carries a mark of its owner, for the sweep.

    :param since: the greatest age of a listed invocation, such as ``"2h"``.
    """

    def __init__(self, app_name: str, correlation_key: str, *, since: str) -> None:
        super().__init__()
        self._app_name = app_name
        self._correlation_key = correlation_key
        self._since = since

    def list_active(self) -> Iterable[Request[Page[Invocation]]]:
        return _list_active(app_name=self._app_name, since=self._since)

    def owner_mark(self, found: Invocation) -> Mapping[str, Any]:
        return correlation_mark(found, self._correlation_key) or {}


class OwnedInvocation(EndableInvocation):
    """
    The invocation that a task starts.

    Kernel has no idempotency key for invocations. What a start may have started is found in the list: by the mark
    in the payload if there is one, else by equal bytes, which those of mapped siblings may be as well.

    :param build: builds the create request for a payload.
    :param correlation_key: the key in the payload under which to put the mark, if any.
    """

    listing_lag_seconds: ClassVar[float] = LOOKUP_SECONDS
    lifetime_seconds: ClassVar[float] = LONGEST_LIFE_SECONDS
    can_be_taken_over: ClassVar[bool] = True

    def __init__(
        self,
        build: Callable[[Any], Request[Invocation]],
        *,
        payload: Any | Unset,
        correlation_key: str | None,
        ti: Any,
    ) -> None:
        super().__init__()
        self._build = build
        self._payload = payload
        self._correlation_key = correlation_key
        self._ti = ti

    def input_fingerprint(self) -> str:
        wanted = StartCriteria.by(self._build(self._payload))
        return fingerprint(wanted.app_name, wanted.action_name, wanted.version, wanted.payload)

    def create(self, mark: StartMark) -> Flow[Invocation]:
        return flows.start_invocation(self._request(mark))

    def find(self, record: StartRecord, *, patience: float) -> Flow[Invocation | None]:
        """Search the list for what a start may have started. Asks Airflow what siblings have started."""
        of_siblings: frozenset[str] = frozenset()
        if is_mapped(self._ti):
            records = fetch_ownerships(
                self.kind, dag_id=self._ti.dag_id, task_id=self._ti.task_id, run_id=self._ti.run_id
            )
            of_siblings = frozenset(record.external_id for record in records if record.external_id is not None)
        return single_match((yield from self._find(record, excluded=of_siblings, patience=patience)))

    def end(self, record: StartRecord, reason: str, *, urgent: bool) -> Flow[EndReport]:
        """Cancel it, and end its browsers. One whose id is unknown is ended if it can be no other."""
        if record.external_id is None:
            # Which ones are the siblings' only Airflow knows, and it must not be asked here.
            if self._correlation_key is None and is_mapped(self._ti):
                return EndReport(found=False)
            since_then = (utc_now() - record.intended).total_seconds()
            patience = 0.0 if urgent else max(0.0, self.listing_lag_seconds - since_then)
            found = yield from self._find(record, excluded=frozenset(), patience=patience)
            if len(found) != 1:
                return EndReport(found=False)
            record = StartRecord.naming(found[0].id)
        return (yield from super().end(record, reason, urgent=urgent))

    def can_reconnect(self, found: Invocation) -> bool:
        return not found.has_failed

    def _find(self, record: StartRecord, *, excluded: frozenset[str], patience: float) -> Flow[list[Invocation]]:
        mark = StartMark.of(self._ti, record.token)
        correlation = None if self._correlation_key is None else (self._correlation_key, record.token)
        if record.predecessor_id is not None:
            excluded |= {record.predecessor_id}
        return find_started(
            StartCriteria.by(self._request(mark), correlation),
            since=record.intended,
            now=utc_now(),
            excluded=excluded,
            patience=patience,
        )

    def _request(self, mark: StartMark) -> Request[Invocation]:
        key = self._correlation_key
        if key is None:
            return self._build(self._payload)
        payload = {} if self._payload is UNSET else self._payload
        check_correlation(key, payload)
        return self._build({**payload, key: mark._asdict()})


def _list_active(*, app_name: str | None = None, since: str) -> Iterable[Request[Page[Invocation]]]:
    for status in (InvocationStatus.QUEUED, InvocationStatus.RUNNING):
        yield requests.list_invocations(app_name=app_name, status=status, since=since)


def fetch_after_deferral(
    hook: KernelHook, event: dict[str, Any] | None, invocation_id: str | None, started: datetime | None = None
) -> Invocation:
    """
    Fetch the invocation that a trigger waited for. The event only says that it is time to.

    :param event: may be lost, or come from another version of this package.
    :param invocation_id: for an event that names none.
    :param started: when the task started, to say how long the limit was that has passed.
    :raises KernelInvocationTimeoutError: when the deadline has passed, and it still runs, the trigger ended it, or
        it cannot be fetched.
    :raises KernelTaskKilledError: when the task was killed meanwhile.
    :raises KernelLostContactError: when it could not be fetched, or still runs although the trigger gave up.
    :raises KernelError: when it does not exist, or its id is unknown.
    """
    event = event or {}
    invocation_id = event.get("invocation_id") or invocation_id
    if not invocation_id:
        raise KernelError(f"The trigger's event names no invocation: {event!r}")
    status = event.get("status")
    if status == WaitStatus.TIMEOUT:
        limit = _passed_limit(event, started)
        return _fetch_overdue(hook, invocation_id, limit, was_ended=bool(event.get("ended")))
    if status == WaitStatus.FINISHED:
        return _fetch_finished(hook, invocation_id)
    return _fetch_lost(hook, invocation_id, event)


def _passed_limit(event: dict[str, Any], started: datetime | None) -> str:
    """Say which limit has passed. An event of another version may not say so."""
    deadline, name = event.get("deadline"), event.get("limit")
    if not name or not isinstance(deadline, (int, float)) or started is None:
        return "the time of its task"
    return f"{deadline - started.timestamp():.0f} s ({name})"


def _fetch_overdue(hook: KernelHook, invocation_id: str, limit: str, *, was_ended: bool) -> Invocation:
    try:
        invocation = hook.get_invocation(invocation_id)
    except KernelTaskKilledError:
        raise
    except KernelError as error:
        raise KernelInvocationTimeoutError(
            f"Invocation {invocation_id} did not end within {limit}, and cannot be fetched: {error}"
        ) from error
    if was_ended and invocation.has_failed:
        # By the trigger: that it failed says nothing about the application.
        raise KernelInvocationTimeoutError(
            f"Invocation {invocation_id} did not end within {limit}, and was cancelled"
        )
    if invocation.is_final:
        return invocation
    raise KernelInvocationTimeoutError(
        f"Invocation {invocation_id} did not end within {limit}; it was {invocation.status}"
    )


def _fetch_finished(hook: KernelHook, invocation_id: str) -> Invocation:
    """Poll until a GET shows the end that was reported. It may lag, and that is no reason to cancel."""
    flow = wait_for_invocation(
        invocation_id,
        poll_interval=DEFAULT_POLL_INTERVAL,
        deadline=time.time() + LONGEST_LIFE_SECONDS,
        was_seen=True,
        on_poll_error=lambda error: log.warning("%s; polling again", error),
    )
    try:
        return hook.get_conn().run(flow)
    except KernelLostContactError as error:
        raise KernelLostContactError(str(error), ends_nothing=True) from error  # it is over


def _fetch_lost(hook: KernelHook, invocation_id: str, event: Mapping[str, Any]) -> Invocation:
    """Fetch it although the trigger gave up: it may have ended meanwhile, and this machine may have access."""
    ends_nothing = event.get("ends_nothing") is True
    try:
        invocation = hook.get_invocation(invocation_id)
    except KernelTaskKilledError:
        raise
    except KernelError as error:
        if error.says_absent and not ends_nothing:
            raise
        raise KernelLostContactError(
            f"Lost contact with invocation {invocation_id}: {error}",
            ends_nothing=ends_nothing or is_refused_access(error),
        ) from error
    if invocation.is_final:
        return invocation
    error_text = event.get("error") or f"the trigger sent {event!r}"
    raise KernelLostContactError(
        f"The triggerer lost contact with invocation {invocation_id}: {error_text}", ends_nothing=ends_nothing
    )
