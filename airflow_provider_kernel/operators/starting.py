"""Starting an invocation exactly once, over lost answers, crashes of the worker, and clears of the task."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_kernel.client.errors import KernelAmbiguousStartError, KernelInputError, KernelNotFoundError
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.resources.invocations.find_started import (
    LOOKUP_SECONDS,
    StartCriteria,
    find_started,
    single_match,
    utc_now,
)
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.unset import UNSET, Unset
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.ledger import Entry, Ledger, fingerprint, new_token
from airflow_provider_kernel.lifecycle.task_instances import is_mapped
from airflow_provider_kernel.operators.guard import InvocationGuard

log = logging.getLogger(__name__)

#: So often a start is sent when it turned out that the one before had started nothing.
_ROUNDS = 3


@dataclass(frozen=True)
class Wanted:
    """
    The invocation that a task wants.

    :param build: builds the create request for a payload.
    :param payload: the payload, without the mark.
    :param correlation_key: the key in the payload under which to put a mark of the task, if any.
    :param owned: whether the invocation belongs to the task, so that one of a thrown-away try is cancelled.
    """

    build: Callable[[Any], Request[Invocation]]
    payload: Any | Unset = field(repr=False)
    correlation_key: str | None
    owned: bool

    def fingerprint(self) -> str:
        """Name what is wanted, the same in each try."""
        asked = StartCriteria.by(self.build(self.payload))
        return fingerprint(asked.app_name, asked.action_name, asked.version, asked.payload)

    def request(self, ti: Any, token: str) -> Request[Invocation]:
        """
        Build the request.

        :param ti: the task instance.
        :param token: the name of this start.
        :raises KernelInputError: when the payload cannot carry the mark.
        """
        if self.correlation_key is None:
            return self.build(self.payload)
        payload = {} if self.payload is UNSET else self.payload
        if not isinstance(payload, dict) or self.correlation_key in payload:
            raise KernelInputError(
                f"correlation_key={self.correlation_key!r} needs a payload that is a JSON object without that key; "
                f"this one is {_kind(payload, self.correlation_key)}"
            )
        mark = {
            "dag_id": ti.dag_id,
            "run_id": ti.run_id,
            "task_id": ti.task_id,
            "map_index": ti.map_index,
            "try_number": ti.try_number,
            "token": token,
        }
        return self.build({**payload, self.correlation_key: mark})

    def correlation(self, token: str) -> tuple[str, str] | None:
        """
        Say by what the list shows this start.

        :param token: the name of the start.
        """
        return None if self.correlation_key is None else (self.correlation_key, token)


class Starter:
    """
    Start what a task wants, or take up what an earlier try of it started.

    :param wanted: what the task wants.
    :param hook: for looking and cancelling; it sleeps so that a kill wakes it up.
    :param guard: starts and owns the invocation.
    :param ledger: what the task remembers.
    :param ti: the task instance.
    """

    def __init__(
        self, wanted: Wanted, *, hook: KernelHook, guard: InvocationGuard, ledger: Ledger, ti: Any
    ) -> None:
        self._wanted = wanted
        self._hook = hook
        self._guard = guard
        self._ledger = ledger
        self._ti = ti
        self._of_earlier_tries: frozenset[str] = frozenset()

    def run(self) -> str:
        """
        Do it.

        :return: the id of the one invocation.
        :raises KernelAmbiguousStartError: when it may be either of several, or when that stays unknown.
        :raises KernelError: when it could not be started.
        """
        asked = self._wanted.fingerprint()
        last = self._ledger.last()
        if last is not None:
            # Known, and so not what a start of this try may have started.
            self._of_earlier_tries = frozenset({last.invocation_id} if last.invocation_id else ())
            if self._is_of_a_crash(last, asked):
                invocation = self._take_up(last)
                if invocation is not None:
                    return invocation.id
            elif self._wanted.owned:
                self._end(last)
        return self._start(self._ledger.intend(asked, new_token()))

    def _is_of_a_crash(self, last: Entry, asked: str) -> bool:
        return not last.is_over and not self._ledger.is_thrown_away(last) and last.asked == asked

    def _take_up(self, last: Entry) -> Invocation | None:
        """Find what the crashed try started, if it is of use."""
        invocation = self._started_by(last)
        if invocation is None or invocation.status == InvocationStatus.FAILED:
            return None
        log.info(
            "Taking up invocation %s, which is %s: try %d of this task started it and crashed. "
            "durable=False would start another one",
            invocation.id,
            invocation.status,
            last.try_number,
        )
        self._guard.adopt(invocation.id)
        self._ledger.record(last, invocation.id)
        return invocation

    def _end(self, last: Entry) -> None:
        """Make sure that what a thrown-away try started does not go on beside the new one."""
        if last.invocation_id is None and last.is_over:
            return
        invocation = self._started_by(last)
        if invocation is not None and not invocation.is_final:
            log.info("Ending invocation %s of an earlier try, which was thrown away", invocation.id)
            self._hook.cancel_invocation(invocation.id, "The Airflow task was cleared")

    def _started_by(self, last: Entry) -> Invocation | None:
        if last.invocation_id is None:
            since_then = (utc_now() - last.intended).total_seconds()
            return self._look_up(last, patience=max(0.0, LOOKUP_SECONDS - since_then))
        try:
            return self._hook.get_invocation(last.invocation_id)
        except KernelNotFoundError:
            return None

    def _start(self, entry: Entry) -> str:
        request = self._wanted.request(self._ti, entry.token)
        for _ in range(_ROUNDS):
            try:
                invocation_id = self._guard.start(
                    request,
                    asked=self._asked(entry) if self._cannot_be_a_siblings() else None,
                    since=entry.intended,
                    excluded=self._of_earlier_tries,
                ).id
                break
            except KernelAmbiguousStartError as error:
                lost = error
                log.warning("%s; looking for it", error)
                found = self._look_up(entry, patience=LOOKUP_SECONDS)
                if found is not None:
                    log.info("The start had been taken: it is invocation %s", found.id)
                    self._guard.adopt(found.id)
                    invocation_id = found.id
                    break
        else:
            raise lost
        self._ledger.record(entry, invocation_id)
        return invocation_id

    def _asked(self, entry: Entry) -> StartCriteria:
        return StartCriteria.by(self._wanted.request(self._ti, entry.token), self._wanted.correlation(entry.token))

    def _look_up(self, entry: Entry, *, patience: float) -> Invocation | None:
        flow = find_started(
            self._asked(entry),
            since=entry.intended,
            now=utc_now(),
            excluded=self._of_siblings() | self._of_earlier_tries,
            patience=patience,
        )
        return single_match(self._hook.get_conn().run(flow))

    def _cannot_be_a_siblings(self) -> bool:
        return self._wanted.correlation_key is not None or not is_mapped(self._ti)

    def _of_siblings(self) -> frozenset[str]:
        """Name the invocations that other mapped task instances of this task have claimed."""
        if not is_mapped(self._ti):
            return frozenset()
        from airflow.sdk.execution_time.xcom import XCom

        ids = XCom.get_all(
            key="invocation_id", dag_id=self._ti.dag_id, task_id=self._ti.task_id, run_id=self._ti.run_id
        )
        return frozenset(str(found) for found in ids or ())


def _kind(payload: Any, key: str) -> str:
    if isinstance(payload, dict):
        return f"one that has a {key!r} already"
    # Its type alone: payloads belong into no message.
    return f"of type {type(payload).__name__}"
