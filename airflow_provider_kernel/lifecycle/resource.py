"""
The life of a remote object in types: its owner, the mark of its start, how to start and end it, how its end went.

Every rule that more than one operator, trigger or callback follows has its one place here. DAG files with an
operator that ends something load it, and most processes of tasks. So it imports next to nothing, and has no
dataclass: to define one takes 0.5 ms.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

from airflow_provider_kernel.lifecycle.names import DEFAULT_CANCEL_ON_KILL, DEFAULT_WAIT_FOR_COMPLETION

if TYPE_CHECKING:
    from airflow_provider_kernel.client.flow import Flow
    from airflow_provider_kernel.client.http.pagination import Page
    from airflow_provider_kernel.client.http.request import Request
    from airflow_provider_kernel.lifecycle.ledger import StartRecord

R = TypeVar("R")


class Ownership(Enum):
    """What an object must not outlive."""

    TASK = "the task that started it"
    RUN = "the DAG run that started it"
    NOBODY = "nothing: it outlives both"

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Ownership:
        """Decide who owns what an operator starts. The arguments of a mapped task name no defaults."""
        ends_with_task = arguments.get("cancel_on_kill", DEFAULT_CANCEL_ON_KILL) and arguments.get(
            "wait_for_completion", DEFAULT_WAIT_FOR_COMPLETION
        )
        return cls.TASK if ends_with_task else cls.NOBODY


class EndReason(str, Enum):
    """Why an object is ended. Users read it in the log, and as the output of an invocation."""

    TASK_ENDED_EARLY = "The Airflow task ended early"
    TASK_KILLED = "The Airflow task was killed"
    TASK_CLEARED = "The Airflow task was cleared"
    TASK_FAILED = "The Airflow task was marked as failed"
    TASK_SUCCEEDED = "The Airflow task was marked as success by hand, so that there is no output"
    TASK_SKIPPED = "The Airflow task was skipped"
    TASK_REMOVED = "The Airflow task does not exist any more"
    RECORD_UNREADABLE = "The record of an earlier try of the Airflow task cannot be read"
    RUN_FAILED = "The Airflow DAG run failed"
    RUN_OVER = "Its Airflow DAG run is over"
    RUN_LATE = "The Airflow DAG run missed its deadline"
    TASK_OVER = "Its Airflow task is over"
    CANCELLED = "Cancelled by Airflow"

    def __str__(self) -> str:
        return self.value

    def because(self, detail: str) -> str:
        """Add a detail of one line; without any, the reason stands alone."""
        return f"{self.value}: {detail}" if detail else self.value


class WaitStatus(str, Enum):
    """How a trigger's wait ended, in the event that it sends to the worker."""

    FINISHED = "finished"
    TIMEOUT = "timeout"
    ERROR = "error"


class StartMark(NamedTuple):
    """Names one start of one task instance, for resources that can carry a mark. The token is random."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    token: str

    @classmethod
    def of(cls, ti: Any, token: str) -> StartMark:
        return cls(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number, token)


class EndReport(NamedTuple):
    """
    How an end went.

    :param lines: what to log, as pairs of level and text.
    :param found: whether there was an object to end. A lost start may have started none.
    :param error: why the object could not be ended; it may still run.
    :param was_over: whether it had ended by itself before.
    """

    lines: tuple[tuple[int, str], ...] = ()
    found: bool = True
    error: BaseException | None = None
    was_over: bool = False

    @property
    def is_done(self) -> bool:
        return self.error is None

    def log(self, logger: Any) -> None:
        """Log it. Takes locks: in a killed task, tell the signal handler first that the end is over."""
        for level, text in self.lines:
            logger.log(level, text)


class EndableResource(Protocol[R]):
    """How Airflow reads and ends one kind of remote object, given its id."""

    #: Names the XCom key, the ledger key and the log lines.
    kind: ClassVar[str]

    def get(self, external_id: str) -> Flow[R]: ...

    def external_id(self, found: R) -> str: ...

    def describe(self, found: R) -> str:
        """Return the status of an object, for log lines and messages."""
        ...

    def is_over(self, found: R) -> bool:
        """Return whether there is nothing left to end."""
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


class ListedResource(EndableResource[R], Protocol[R]):
    """How Airflow finds the objects of one kind that are active."""

    def list_active(self) -> Iterable[Request[Page[R]]]:
        """Return the first request of each list whose pages together hold all active objects."""
        ...


class OwnedResource(EndableResource[R], Protocol[R]):
    """How Airflow starts and finds one kind of remote object, too."""

    #: How long after Kernel took a start its object may be missing from the list.
    listing_lag_seconds: ClassVar[float]
    #: How long after its start an object may be active.
    lifetime_seconds: ClassVar[float]
    #: Whether a later try may go on with an object, so that a process asks before it ends its own. Of another kind,
    #: ``create()`` itself ends what former tries have left.
    can_be_taken_over: ClassVar[bool]

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

        :param patience: for how many seconds to search again while none is found.
        :return: ``None`` when it started nothing.
        :raises KernelAmbiguousStartError: when it may be one of several.
        """
        ...

    def can_reconnect(self, found: R) -> bool:
        """Return whether a retry after a crash goes on with this object, rather than starting another one."""
        ...


def end_failed(
    kind: str,
    external_id: str | None,
    error: BaseException,
    *,
    text: str | None = None,
    next_in_line: str = "",
) -> EndReport:
    """
    Report that an object could not be ended.

    :param text: says why, where the error does not.
    :param next_in_line: who ends it next, as a noun phrase.
    """
    name = external_id or "(its id is not known yet)"
    line = f"{kind.capitalize()} {name} could not be ended: {text or str(error) or type(error).__name__}"
    if next_in_line:
        line = f"{line}. Next in line: {next_in_line}"
    return EndReport(((logging.ERROR, line),), error=error)
