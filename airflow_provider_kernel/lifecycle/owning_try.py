"""
One try of a task that owns an object: what it takes over, what it publishes, and who owns the object afterwards.

Three parties read what a try writes. The next try reads the ledger. DAG callbacks, and a process of an earlier try
that comes back, read the ownership record in XCom. So both are written in a fixed order: the ownership record names
what an earlier try left before the first request to Kernel, and the ledger names a start before it is sent. Where
no try has left anything, the first ownership record names what this try has started. Without an id it is of no use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_kernel._compat import AirflowTaskTimeout
from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelConfigurationError,
    KernelError,
    KernelLostContactError,
    KernelTaskKilledError,
)
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.fencing import Fence, has_been_replaced
from airflow_provider_kernel.lifecycle.ledger import Ledger, StartRecord
from airflow_provider_kernel.lifecycle.owner import Owner
from airflow_provider_kernel.lifecycle.ownership import OwnershipPublisher, fetch_ownership
from airflow_provider_kernel.lifecycle.resource import EndReason, OwnedResource, Ownership, StartMark
from airflow_provider_kernel.lifecycle.starter import ExactlyOnceStarter
from airflow_provider_kernel.lifecycle.task_instances import will_be_retried

if TYPE_CHECKING:
    from airflow.sdk import Context

log = get_logger(__name__)

R = TypeVar("R")


class OwningTry(Generic[R]):
    """
    Take over what an earlier try left; start the object; at an early end, end it or leave it to the next try.

    For the main thread of a task process, except for :meth:`kill`.

    :param cancel_on_kill: ``False``: nothing is ever ended.
    :param waits: whether the task waits for the object. If not, the object is the task's until its id is returned.
    :param durable: ``False``: no try knows of another one.
    :param is_resumed: whether this process goes on after a deferral.
    """

    def __init__(
        self,
        resource: OwnedResource[R],
        hook: KernelHook,
        context: Context,
        *,
        cancel_on_kill: bool,
        waits: bool = True,
        durable: bool,
        is_resumed: bool = False,
    ) -> None:
        self._resource = resource
        self._hook = hook
        self._context = context
        self._ti: Any = context["ti"]
        self._is_ended_early = cancel_on_kill
        self._waits = waits
        self._is_resumed = is_resumed
        self.killed = False
        self._owner: Owner[R] | None = None
        self._last: StartRecord | None = None
        self._ledger = Ledger.of_try(resource.kind, context, durable=durable)
        self._publisher = OwnershipPublisher(
            resource.kind,
            self._ti,
            kernel_conn_id=hook.kernel_conn_id,
            is_owned=cancel_on_kill and waits,
            has_published=is_resumed,
        )

    @property
    def owner(self) -> Owner[R]:
        if self._owner is None:
            raise RuntimeError("Nothing is owned before begin() or resume()")
        return self._owner

    def begin(self) -> None:
        """Own what an earlier try left, and publish that. The first act of a try: before any request to Kernel."""
        last = self._last = self._ledger.last()
        is_owned = self._owns_last()
        try:
            if last is not None:
                self._check_present()
                names_another = last.external_id is not None
                self._publisher.publish(last, is_owned=is_owned if names_another else self._is_ended_early)
        finally:
            self._own(last if is_owned else None)

    def resume(self, external_id: str | None) -> None:
        """
        Own what this try had started before its deferral.

        :param external_id: its id; ``None``: what the ledger says.
        :raises KernelLostContactError: when the connection cannot be used any more.
        """
        record = StartRecord.naming(external_id) if external_id else self._ledger.last()
        try:
            self._own(record if record is not None and _may_be_active(record) else None)
        except KernelConfigurationError as error:
            name = f"{self._resource.kind} {external_id or '(its id is not known)'}"
            raise KernelLostContactError(f"No access to {name}: {error}", ends_nothing=True) from error

    def start(self, on_start: Callable[[], None] = lambda: None) -> str:
        """
        Start the object, or reconnect to that of a crashed try. Publish its id, and return it.

        :param on_start: called before a new one is started.
        """
        self._resource.create(StartMark.of(self._ti, token=""))  # raises at once for what cannot work
        starter = ExactlyOnceStarter(self.owner, ledger=self._ledger, open_client=self._hook.get_conn, ti=self._ti)
        record = starter.run(self._last, is_owned=self._owns_last(), on_start=on_start)
        self._check_present()
        self._publisher.publish(record)
        return str(record.external_id)

    def give_up(self, why: BaseException | str) -> str | None:
        """
        End the object because the task ends early, or leave it to the next try.

        :param why: what the task fails with.
        :return: the id of the object that the task has waited for, or was about to.
        """
        try:
            return self._give_up(why)
        except AirflowTaskTimeout as timeout:  # the execution_timeout interrupts any line, but only once
            self._give_up(timeout)
            raise

    def finish(self) -> None:
        """
        End the object because the task has done its work. A failure is logged: it does not undo the work.

        May be called again, after an interruption.
        """
        has_ended = self.owner.end(EndReason.TASK_OVER)
        self._ledger.close(self.owner.external_id, may_run_on=None if has_ended else True)

    def close_record(self) -> None:
        """Store that the object is over, and no result for the next try."""
        self._ledger.close()

    def close(self) -> None:
        """Let the owner's threads end. Waits for nothing."""
        if self._owner is not None:
            self._owner.close()

    def kill(self) -> None:
        """Handle a kill from a signal handler. May be called at any time, and again."""
        self.killed = True
        if self._owner is not None:
            self._owner.kill()

    def _check_present(self) -> None:
        """
        Raise in a killed process of an earlier try.

        Airflow takes XComs from such a process, too: they would replace those of the present try.
        """
        if not self.killed or not self._ledger.remembers:
            return
        ownership = fetch_ownership(self._resource.kind, self._ti)
        if ownership is None:
            is_old = has_been_replaced(self._publisher, self._ledger)
        else:
            is_old = ownership.try_number != self._ti.try_number
        if is_old:
            raise KernelTaskKilledError("The task was killed, and another try of it runs")

    def _own(self, record: StartRecord | None) -> None:
        # Until its id is returned, an object that outlives the task belongs to the task, too.
        ownership = Ownership.TASK if self._is_ended_early else Ownership.NOBODY
        # Where no try can take anything over, this one always ends what it owns.
        fence = None
        if self._ledger.remembers and self._resource.can_be_taken_over:
            fence = Fence(self._resource.kind, self._ti, self._publisher, self._ledger)
        owner = Owner(self._resource, self._hook.config, ownership=ownership, fence=fence)
        if record is not None:
            owner.adopt(record)
        self._owner = owner
        if self.killed:  # by a signal that came before there was an owner
            owner.kill()

    def _give_up(self, why: BaseException | str) -> str | None:
        owner = self._owner
        is_earlier = not self._is_resumed and not self._ledger.has_recorded
        if owner is None or (is_earlier and not self._owns_last()):
            return None  # nothing was started, and the record of an earlier try stays as it is
        is_left = self._has_successor(why)
        if is_left and is_earlier:
            return None
        if self._ends_nothing(why):
            return owner.external_id  # its records are kept: the next in line reads them
        if is_left and isinstance(why, KernelLostContactError):
            return owner.external_id
        has_ended = owner.end(EndReason.TASK_ENDED_EARLY.because(_name(why)))
        if owner.was_taken_over:
            log.info("Another try of this task owns its %s, or will", self._resource.kind)
            return None
        if has_ended or self.killed or not is_earlier:
            # The error names what it may be. A user who clears the task has decided.
            is_named = isinstance(why, KernelAmbiguousStartError)
            may_run_on = False if is_named else None if has_ended else True
            self._ledger.close(owner.external_id, may_run_on=may_run_on)
        return owner.external_id  # the end may have waited for it

    def _owns_last(self) -> bool:
        """Whether what an earlier try left, if anything, is this try's to end."""
        last = self._last
        if last is None or not self._is_ended_early or not _may_be_active(last):
            return False
        if self._waits or last.may_run_on or last.external_id is None:
            return True
        # After a clear, the former try had returned the id, and so what it names outlives the task.
        return last.is_readable and not last.is_closed and not self._ledger.belongs_to_cleared_try(last)

    def _has_successor(self, why: BaseException | str) -> bool:
        """Whether another try follows that can take over what this one leaves."""
        return self._ledger.remembers and self._is_retried(why)

    def _ends_nothing(self, why: BaseException | str) -> bool:
        """Whether the object is left alone, unless a try follows that knows of nothing and starts a second one."""
        if self.killed or not isinstance(why, KernelLostContactError) or not why.ends_nothing:
            return False
        return self._ledger.remembers or not self._is_retried(why)

    def _is_retried(self, why: BaseException | str) -> bool:
        if self.killed or isinstance(why, str) or (isinstance(why, KernelError) and why.permanent):
            return False
        return will_be_retried(self._ti, why, self._context)


def _may_be_active(record: StartRecord) -> bool:
    """Whether a record names something that may be active, by its id or by what else it says."""
    if record.external_id is None:
        return record.is_readable and (record.may_run_on or not record.is_closed)
    return True


def _name(why: BaseException | str) -> str:
    return why if isinstance(why, str) else type(why).__name__
