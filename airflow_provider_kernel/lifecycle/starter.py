"""Start an object exactly once, over lost answers, crashes of the worker, and clears of the task."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelError,
    KernelInputError,
    KernelNotFoundError,
    KernelTaskKilledError,
)
from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.client.outage import Outage, is_refused_access, persist
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.lifecycle.ledger import Ledger, StartRecord
from airflow_provider_kernel.lifecycle.owner import Owner
from airflow_provider_kernel.lifecycle.resource import EndReason, StartMark

log = get_logger(__name__)

R = TypeVar("R")
T = TypeVar("T")

#: How often a start is sent while each time it turns out that the one before has started nothing.
_MAX_STARTS = 3


class ExactlyOnceStarter(Generic[R]):
    """
    Start what a task wants, or reconnect to what an earlier try of it started.

    For the main thread of a task process; it asks Airflow.

    :param open_client: makes what sends searches, which most starts do not need; a kill wakes up its backoff.
    """

    def __init__(
        self, owner: Owner[R], *, ledger: Ledger, open_client: Callable[[], KernelClient], ti: Any
    ) -> None:
        self._owner = owner
        self._resource = owner.resource
        self._ledger = ledger
        self._open_client = open_client
        self._ti = ti

    def run(
        self,
        last: StartRecord | None,
        *,
        is_owned: bool,
        on_start: Callable[[], None] = lambda: None,
    ) -> StartRecord:
        """
        Return the record of the one object, with its id.

        :param last: the record of an earlier try.
        :param is_owned: whether the owner has adopted it. Else, what it names outlives the task, and is not ended.
        :param on_start: called before a new one is started; not for a reconnect.
        :raises KernelAmbiguousStartError: when it may be one of several, or when that stays unknown.
        :raises KernelError: when it could not be started, or when what it is to replace could not be ended.
        """
        fingerprint = self._resource.input_fingerprint()
        if last is None:
            on_start()
            return self._start(self._ledger.record_intent(fingerprint))
        if self._ledger.is_of_crashed_try(last, fingerprint):
            record = self._reconnect(last, is_owned=is_owned)
            if record is not None:
                return record
        else:
            self._end_previous(last, is_owned=is_owned)
        on_start()
        return self._start(self._ledger.record_intent(fingerprint, predecessor_id=last.external_id))

    def _reconnect(self, last: StartRecord, *, is_owned: bool) -> StartRecord | None:
        """Find what the crashed try started, if it is of use."""
        found = self._find_previous(last)
        if found is None or not self._resource.can_reconnect(found):
            if is_owned:
                self._replace(last, found, EndReason.TASK_ENDED_EARLY)
            return None
        record = self._adopt(last, found)
        log.info(
            "Reconnecting to %s %s, which is %s: try %d of this task started it and crashed. "
            "durable=False would start another one",
            self._resource.kind,
            record.external_id,
            self._resource.describe(found),
            last.try_number,
        )
        return record

    def _end_previous(self, last: StartRecord, *, is_owned: bool) -> None:
        """Make sure that what a cleared try started, or one whose record cannot be read, does not go on."""
        if not last.is_readable:
            if last.external_id is None and not self._resource.can_be_taken_over:
                return  # create() finds what there is
            self._check_unreadable(last, is_owned=is_owned)
        if is_owned:
            reason = EndReason.TASK_CLEARED if last.is_readable else EndReason.RECORD_UNREADABLE
            self._replace(last, self._find_previous(last), reason)

    def _replace(self, last: StartRecord, found: R | None, reason: EndReason) -> None:
        """Make room for another start. A failure fails this try, which must not start one beside it."""
        if found is None or self._resource.is_over(found):
            self._owner.nothing_was_started()
        else:
            external_id = self._resource.external_id(found)
            log.info("Ending %s %s, which an earlier try started. %s", self._resource.kind, external_id, reason)
            self._owner.adopt(last.with_id(external_id))
            self._owner.replace(reason)
        self._owner.check()  # before the record of the earlier try is overwritten

    def _check_unreadable(self, last: StartRecord, *, is_owned: bool) -> None:
        """Refuse to start a second object beside one that may go on: "unknown" is not "nothing was started"."""
        if last.external_id is None:
            raise self._unreadable()
        if not is_owned and (found := self._find_previous(last)) and not self._resource.is_over(found):
            raise KernelAmbiguousStartError(
                f"An earlier try started {self._resource.kind} {last.external_id}, which is "
                f"{self._resource.describe(found)}, and the rest of its record cannot be read. "
                "durable=False starts another one"
            )

    def _unreadable(self) -> KernelAmbiguousStartError:
        return KernelAmbiguousStartError(
            f"The record of an earlier try's {self._resource.kind} cannot be read; another version of this "
            "provider may have written it. durable=False starts another one"
        )

    def _find_previous(self, last: StartRecord) -> R | None:
        if last.external_id is None:
            since_then = (datetime.now(timezone.utc) - last.intended).total_seconds()
            return self._find(last, patience=max(0.0, self._resource.listing_lag_seconds - since_then))
        external_id = last.external_id
        try:
            # An outage must not end what may be in order, nor start its successor beside it.
            return self._persist(last, lambda: self._resource.get(external_id), lambda error: not error.says_absent)
        except KernelNotFoundError:
            return None
        except KernelInputError as error:
            raise self._unreadable() from error

    def _start(self, record: StartRecord) -> StartRecord:
        mark = StartMark.of(self._ti, record.token)
        for _ in range(_MAX_STARTS):
            try:
                external_id = self._resource.external_id(self._owner.start(record, mark))
            except KernelAmbiguousStartError as error:
                lost = error
            else:
                return self._ledger.record_start(record, external_id)
            log.warning("%s; searching for it", lost)
            found = self._find_lost(record)
            if found is not None:
                return self._adopt(record, found)
            self._owner.nothing_was_started()
        raise lost

    def _find_lost(self, record: StartRecord) -> R | None:
        try:
            return self._find(record, patience=self._resource.listing_lag_seconds)
        except KernelTaskKilledError:
            raise
        except KernelError as error:
            is_found_by_next = self._ledger.remembers or not self._resource.can_be_taken_over
            if is_found_by_next or isinstance(error, KernelAmbiguousStartError):
                raise
            # No other try could search for it, and the next one would start a second one.
            raise KernelAmbiguousStartError(f"What a start has started cannot be found out: {error}") from error

    def _adopt(self, record: StartRecord, found: R) -> StartRecord:
        external_id = self._resource.external_id(found)
        self._owner.adopt(record.with_id(external_id))
        return self._ledger.record_start(record, external_id)

    def _find(self, record: StartRecord, *, patience: float) -> R | None:
        return self._persist(record, lambda: self._resource.find(record, patience=patience), is_refused_access)

    def _persist(
        self, record: StartRecord, attempt: Callable[[], Flow[T]], repeats: Callable[[KernelError], bool]
    ) -> T:
        outage = Outage(
            f"{self._resource.kind} {record.external_id or '(its id is not known yet)'} of an earlier start",
            was_seen=True,
            longest=self._resource.lifetime_seconds,
            on_error=lambda error: log.warning("%s; trying again", error),
        )
        return self._open_client().run(persist(attempt, outage, repeats=repeats))
