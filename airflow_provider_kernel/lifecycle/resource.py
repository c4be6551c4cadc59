"""
The words that the life of a remote object is told in: its kind, its owner, the mark of its start, its end.

Every rule that more than one operator, trigger or callback follows has its one place here.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from airflow_provider_kernel.client.errors import KernelError

if TYPE_CHECKING:
    from airflow_provider_kernel.client.flow import Flow
    from airflow_provider_kernel.lifecycle.ledger import StartRecord

R = TypeVar("R")


class WaitStatus(str, Enum):
    """How a trigger's wait ended, in the event that it sends to the worker."""

    FINISHED = "finished"
    TIMEOUT = "timeout"
    ERROR = "error"


@dataclass(frozen=True)
class StartMark:
    """
    Names one start of one task instance, for resources that can carry a mark.

    :param token: a random name of this start.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    token: str

    @classmethod
    def of(cls, ti: Any, token: str) -> StartMark:
        """Mark a start of a task instance."""
        return cls(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number, token)

    def as_dict(self) -> dict[str, Any]:
        """Return the mark as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class EndReport:
    """
    How an end went.

    :param lines: what to log, as pairs of level and text.
    :param found: whether there was an object to end. A lost start may have started none.
    :param error: why the object could not be ended; it may still run.
    """

    lines: tuple[tuple[int, str], ...] = ()
    found: bool = True
    error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to end."""
        return self.error is None

    def log(self, logger: Any) -> None:
        """
        Log it. Takes locks: in a killed task, tell the signal handler first that the end is over.

        :param logger: a logger of the standard library, or one like it.
        """
        for level, text in self.lines:
            logger.log(level, text)


class EndableResource(Protocol[R]):
    """How Airflow reads and ends one kind of remote object, given its id."""

    #: Names the XCom key, the ledger key and the log lines.
    kind: ClassVar[str]

    def get(self, external_id: str) -> Flow[R]:
        """Fetch an object."""
        ...

    def is_over(self, found: R) -> bool:
        """Say whether there is nothing left to end."""
        ...

    def end(self, record: StartRecord, reason: str, *, urgent: bool) -> Flow[EndReport]:
        """
        End an object.

        :param record: names the object; one without an id is searched by what else the record says, without
            any call to Airflow, since this may run while a signal handler waits.
        :param reason: an :class:`EndReason`, perhaps with a detail.
        :param urgent: whether the process is about to be killed: then every request that is not needed is left out.
        :raises KernelError: when it could not be ended.
        """
        ...


class OwnedResource(EndableResource[R], Protocol[R]):
    """How Airflow starts and finds one kind of remote object, too."""

    #: How long after Kernel took a start its object may be missing from the list.
    listing_lag_seconds: ClassVar[float]

    def input_fingerprint(self) -> str:
        """Name what is to be started, the same in every try."""
        ...

    def create(self, mark: StartMark) -> Flow[R]:
        """
        Start it. The request is sent again only if Kernel provably did not take it.

        :raises KernelInputError: at once, for arguments that cannot work.
        :raises KernelAmbiguousStartError: from the flow, when Kernel may have taken the request.
        """
        ...

    def find(self, record: StartRecord, *, patience: float) -> Flow[R | None]:
        """
        Search for what a start may have started, after a lost answer or a crash. May ask Airflow.

        :param record: the start.
        :param patience: for how many seconds to search again while none is found.
        :return: ``None`` when it started nothing.
        :raises KernelAmbiguousStartError: when it may be one of several.
        """
        ...

    def external_id(self, found: R) -> str:
        """Return the id of an object."""
        ...

    def describe(self, found: R) -> str:
        """Return the status of an object, for log lines and messages."""
        ...

    def can_reconnect(self, found: R) -> bool:
        """Say whether a retry after a crash goes on with this object, rather than starting another one."""
        ...


def try_to_end(
    resource: EndableResource[Any], record: StartRecord, reason: str, *, urgent: bool = False
) -> Flow[EndReport]:
    """
    End an object, and report a failure instead of raising it: it must not hide why the object is ended.

    :param resource: its kind.
    :param record: names it.
    :param reason: an :class:`EndReason`, perhaps with a detail.
    :param urgent: whether the process is about to be killed.
    """
    began = time.monotonic()
    try:
        report = yield from resource.end(record, reason, urgent=urgent)
    except KernelError as error:
        return end_failed(resource.kind, record.external_id, error)
    took = f" (in {time.monotonic() - began:.1f} s)"
    return replace(report, lines=tuple((level, text + took) for level, text in report.lines))


def end_failed(kind: str, external_id: str | None, error: BaseException, *, text: str | None = None) -> EndReport:
    """
    Report that an object could not be ended.

    :param kind: its kind.
    :param external_id: its id, if that is known.
    :param error: why.
    :param text: the same in words; by default the text of the error.
    """
    name = external_id or "(its id is not known yet)"
    line = f"{kind.capitalize()} {name} could not be cancelled: {text or str(error) or type(error).__name__}"
    return EndReport(((logging.ERROR, line),), error=error)


def xcom_key(kind: str) -> str:
    """Name the XCom under which a task publishes the id of what it owns."""
    return f"{kind}_id"


def published_ids(kind: str, *, dag_id: str, task_id: str, run_id: str) -> frozenset[str]:
    """
    Read from XCom which objects the task instances of a task own, in a DAG run.

    Asks Airflow, which takes a lock: never from a signal handler.
    """
    from airflow.sdk.execution_time.xcom import XCom

    found = XCom.get_all(key=xcom_key(kind), dag_id=dag_id, task_id=task_id, run_id=run_id)
    return frozenset(str(external_id) for external_id in found or ())


def published_id(kind: str, ti: Any) -> str | None:
    """Read from XCom what a task instance owns. The XComs of a task survive its deferral, though not a retry."""
    pulled = ti.xcom_pull(task_ids=ti.task_id, key=xcom_key(kind), map_indexes=ti.map_index)
    return pulled if isinstance(pulled, str) else None
