"""
The ownership record: which try of a task owns which object, in XCom.

DAG callbacks, and old processes of a task, cannot read the task state store; by names, they can read XCom, and they
read it without a custom XCom backend. Airflow wipes the XComs of a task when a try starts, so a try for which an
earlier one has left something writes its record as its very first act; another one, once it has started something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.lifecycle import own_xcoms
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.names import ownership_key
from airflow_provider_kernel.lifecycle.task_instances import TaskState, fetch_task_state

log = get_logger(__name__)


class OwnershipRecord(NamedTuple):
    """
    What one try of a task owns.

    :param external_id: the object; ``None`` while it is not known.
    :param token: the token of its start in the ledger; empty before there is one.
    :param try_number: the try.
    :param kernel_conn_id: the rendered id of the connection.
    :param is_owned: whether the object must not outlive the task.
    """

    external_id: str | None
    token: str
    try_number: int
    kernel_conn_id: str
    is_owned: bool

    @classmethod
    def parse(cls, stored: Any) -> OwnershipRecord | None:
        """Read a stored record; ``None`` for what cannot be read."""
        if not isinstance(stored, Mapping):
            return None
        external_id, token = stored.get("external_id"), stored.get("token")
        try_number, kernel_conn_id = stored.get("try_number"), stored.get("kernel_conn_id")
        is_owned = stored.get("is_owned")
        if (
            isinstance(external_id, (str, type(None)))
            and isinstance(token, str)
            and isinstance(try_number, int)
            and isinstance(kernel_conn_id, str)
            and isinstance(is_owned, bool)
        ):
            return cls(external_id or None, token, try_number, kernel_conn_id, is_owned)
        return None

    def names(self, record: StartRecord) -> bool:
        """Return whether both are about the same object; by the token while an id is not known."""
        if self.external_id is not None and record.external_id is not None:
            return self.external_id == record.external_id
        return bool(self.token) and self.token == record.token


def fetch_ownership(kind: str, ti: Any) -> OwnershipRecord | None:
    """Fetch the record of a task instance. Blocks until Airflow answers; works in an old process, too."""
    return OwnershipRecord.parse(own_xcoms.read(ownership_key(kind), ti))


def fetch_owned_id(kind: str, ti: Any) -> str | None:
    """Fetch what a task instance owns. Its XComs survive its deferral, though not a retry. Blocks, as above."""
    ownership = fetch_ownership(kind, ti)
    return None if ownership is None else ownership.external_id


def is_deferred_on(kind: str, ti: Any, external_id: str) -> bool:
    """Return whether a task is deferred, and waits for this object rather than for a later try's. Blocks."""
    return fetch_task_state(ti) is TaskState.DEFERRED and fetch_owned_id(kind, ti) == external_id


def is_of_another_try(kind: str, ti: Any, external_id: str) -> bool:
    """Return whether another try of a task instance owns an object by now. Blocks until Airflow answers."""
    ownership = fetch_ownership(kind, ti)
    return ownership is not None and ownership.external_id == external_id and ownership.try_number != ti.try_number


def fetch_ownerships(kind: str, *, dag_id: str, task_id: str, run_id: str) -> list[OwnershipRecord]:
    """Fetch the readable records of all instances of a task in a DAG run. Blocks until Airflow answers."""
    found = own_xcoms.read_all(ownership_key(kind), dag_id=dag_id, task_id=task_id, run_id=run_id)
    records = [record for stored in found if (record := OwnershipRecord.parse(stored)) is not None]
    if len(records) < len(found):
        log.warning(
            "%d of %d ownership records of task %s in run %s cannot be read; what they name is not ended here",
            len(found) - len(records),
            len(found),
            task_id,
            run_id,
        )
    return records


class OwnershipPublisher:
    """
    Writes the ownership record of one try. For the main thread of a task process.

    :param has_published: whether the try has written a record before its deferral, in another process.
    """

    def __init__(
        self, kind: str, ti: Any, *, kernel_conn_id: str, is_owned: bool, has_published: bool = False
    ) -> None:
        self._key = ownership_key(kind)
        self._ti = ti
        self._kernel_conn_id = kernel_conn_id
        self._is_owned = is_owned
        self._published: OwnershipRecord | None = None
        #: Whether this try has written a record. Read by other threads.
        self.has_published = has_published

    def publish(self, record: StartRecord | None, *, is_owned: bool | None = None) -> None:
        """
        Write that this try owns an object, unless that is what it has written before.

        :param record: the object; ``None`` when there is none yet.
        :param is_owned: in place of what this publisher was given.
        """
        record = record or StartRecord()
        ownership = OwnershipRecord(
            external_id=record.external_id,
            token=record.token,
            try_number=self._ti.try_number,
            kernel_conn_id=self._kernel_conn_id,
            is_owned=self._is_owned if is_owned is None else is_owned,
        )
        if ownership != self._published:
            own_xcoms.write(self._key, ownership._asdict(), self._ti)
            self._published = ownership
            self.has_published = True
