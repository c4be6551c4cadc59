"""
What a task remembers over its tries: that it was about to start something, and what it was.

A worker may die at any moment, also between sending the request and reading its answer. So the intent is stored
before the request and the id after it, in Airflow 3.3's task state store. The next try then knows what to search
for. On older versions of Airflow nothing is remembered.

``airflow.sdk.ResumableJobMixin`` has the same purpose and is not subclassed. It documents a "small window" between
the submit and the store, in which a crash makes the next try submit again. The intent closes that window. The words
are the mixin's: external id, reconnect, durable.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.client.timestamps import parse_timestamp

if TYPE_CHECKING:
    from airflow.sdk import Context

log = get_logger(__name__)

#: The version of the record's format. A record of another version is not readable.
RECORD_VERSION = 1

_NO_TIME = "1970-01-01T00:00:00+00:00"


class StartRecord(NamedTuple):
    """
    One start, as the task state store holds it. A stored value has the type of its field's default.

    :param version: the version of the format; 0 for a record that cannot be read, of which only the id is known.
    :param input_fingerprint: names what was to be started, the same in every try.
    :param token: a random name of this start.
    :param intended_at: when the request was about to be sent, RFC 3339.
    :param try_number: the try that started it, or reconnected to it.
    :param max_tries: how many tries the task had then; the clear of a task that does not run raises it.
    :param clear_number: how often tasks of the DAG run had been cleared when the try began.
    :param external_id: the id of what was started, once that is known.
    :param predecessor_id: the id of what an earlier try had started: it is not what this start started.
    :param is_closed: whether the try ended in good order, whatever became of the object.
    :param may_run_on: whether such a try could not find out what it had started, or end it.
    """

    version: int = RECORD_VERSION
    input_fingerprint: str = ""
    token: str = ""
    intended_at: str = _NO_TIME
    try_number: int = 0
    max_tries: int = 0
    clear_number: int = 0
    external_id: str | None = None
    predecessor_id: str | None = None
    is_closed: bool = False
    may_run_on: bool = False

    @classmethod
    def naming(cls, external_id: str) -> StartRecord:
        """Make a record of which only the id is known."""
        return cls(version=0, external_id=external_id)

    @classmethod
    def parse(cls, stored: Any) -> StartRecord:
        """Read a stored record. One that cannot be read is no reason to start a second object: its id counts."""
        stored = stored if isinstance(stored, Mapping) else {}
        is_complete = all(
            name in stored and isinstance(stored[name], (str, type(None)) if default is None else type(default))
            for name, default in cls._field_defaults.items()
        )
        if is_complete and stored["version"] == RECORD_VERSION:
            record = cls(**{name: stored[name] for name in cls._fields})
            if parse_timestamp(record.intended_at) is not None:
                return record
        external_id = stored.get("external_id")
        return cls(version=0, external_id=external_id if isinstance(external_id, str) and external_id else None)

    def with_id(self, external_id: str) -> StartRecord:
        return self._replace(external_id=external_id)

    @property
    def is_readable(self) -> bool:
        return self.version == RECORD_VERSION

    @property
    def intended(self) -> datetime:
        return parse_timestamp(self.intended_at) or datetime.now(timezone.utc)


class Ledger:
    """
    The memory of a task instance for one kind of object. Without a task state store it remembers nothing.

    :param clear_number: of the DAG run, when the try begins.
    """

    def __init__(self, kind: str, store: Any | None, ti: Any, *, clear_number: int = 0) -> None:
        self._key = f"kernel_{kind}"
        self._store = store
        self._ti = ti
        self._clear_number = clear_number
        self._record: StartRecord | None = None
        self._was_held = False

    @classmethod
    def of_try(cls, kind: str, context: Context, *, durable: bool) -> Ledger:
        """
        Make the ledger of the try that a process runs.

        :param durable: ``False``: no try knows of another one.
        """
        # Airflow 3.3 has the store; on older versions nothing is remembered.
        store = context.get("task_state_store") if durable else None
        clear_number = getattr(context["dag_run"], "clear_number", None) or 0
        return cls(kind, store, context["ti"], clear_number=clear_number)

    @property
    def remembers(self) -> bool:
        """Whether the next try can read what this one writes."""
        return self._store is not None

    @property
    def has_recorded(self) -> bool:
        """Whether this process has stored a record. Before, the last one may be an earlier try's."""
        return self._record is not None

    def last(self) -> StartRecord | None:
        """Read the last record, also one that is not readable. ``None``: nothing was started."""
        stored = self._store.get(self._key) if self._store is not None else None
        if stored is None:
            return None
        self._was_held = True
        return StartRecord.parse(stored)

    def has_lost_access(self) -> bool:
        """
        Return whether another try has begun: the store held a record before, and shows this process none any more.

        The store goes by the id of the task instance, which Airflow replaces for each try. A user who deletes the
        task's state looks the same. Blocks until Airflow answers.
        """
        return self._was_held and self.last() is None

    def is_of_crashed_try(self, record: StartRecord, input_fingerprint: str) -> bool:
        """Say whether a record is of a try that crashed while it did what this one is to do."""
        return (
            record.is_readable
            and not record.is_closed
            and not self.belongs_to_cleared_try(record)
            and record.input_fingerprint == input_fingerprint
        )

    def belongs_to_cleared_try(self, record: StartRecord) -> bool:
        """
        Say whether a record is of a try that was cleared, rather than of one that crashed.

        Each clear raises the DAG run's ``clear_number``, unless it is told to leave the run alone; that of a task
        which does not run raises ``max_tries``, too. A task instance that was deleted and made anew counts its
        tries from 1 again. The clear of another task of the run, between the start of a try and the retry after
        its crash, also counts as a clear: it costs a new start, but never leaves two objects.
        """
        return bool(
            record.clear_number != self._clear_number
            or record.max_tries != self._ti.max_tries
            or record.try_number >= self._ti.try_number
        )

    def record_intent(self, input_fingerprint: str, predecessor_id: str | None = None) -> StartRecord:
        """Store that a start is about to be sent."""
        return self._write(
            StartRecord(
                input_fingerprint=input_fingerprint,
                token=secrets.token_hex(16),
                intended_at=datetime.now(timezone.utc).isoformat(),
                try_number=self._ti.try_number,
                max_tries=self._ti.max_tries,
                clear_number=self._clear_number,
                predecessor_id=predecessor_id,
            )
        )

    def record_start(self, record: StartRecord, external_id: str) -> StartRecord:
        """Store what was started or found. It is this try's from now on."""
        return self._write(
            record._replace(
                external_id=external_id,
                try_number=self._ti.try_number,
                max_tries=self._ti.max_tries,
                clear_number=self._clear_number,
            )
        )

    def close(self, external_id: str | None = None, *, may_run_on: bool | None = None) -> None:
        """
        Store that the try ended in good order, so that the next one starts anew. A failure is only logged.

        :param external_id: the object, if the try could not store it before.
        :param may_run_on: whether the object may run on, also one without an id; ``None`` keeps what is stored, and
            so does ``True`` in a record that was closed before.
        """
        try:
            record = self._record or self.last()
            if record is None or not record.is_readable:
                return
            if may_run_on is None or (may_run_on and record.is_closed):
                may_run_on = record.may_run_on
            closed = record._replace(
                external_id=record.external_id or external_id, is_closed=True, may_run_on=may_run_on
            )
            if closed != record:
                self._write(closed)
        except Exception:
            log.exception("Airflow did not store that this try has ended")

    def _write(self, record: StartRecord) -> StartRecord:
        if self._store is not None:
            self._store.set(self._key, record._asdict())
            self._was_held = True
        self._record = record  # not before: else what is stored is still an earlier try's
        return record


def fingerprint(*parts: str | None) -> str:
    """Make a short text that differs when a part differs."""
    return hashlib.sha256("\0".join(repr(part) for part in parts).encode("utf-8", "surrogatepass")).hexdigest()
