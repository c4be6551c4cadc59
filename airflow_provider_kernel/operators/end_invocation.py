"""The operators that end an invocation which another task or program started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_kernel._compat import AirflowSkipException
from airflow_provider_kernel.arguments import check_rendered
from airflow_provider_kernel.client.errors import KernelInputError, KernelNotFoundError
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.client.validation import is_missing
from airflow_provider_kernel.invocation_arguments import check_arguments
from airflow_provider_kernel.lifecycle.resource import EndReason
from airflow_provider_kernel.operators._links import DASHBOARD_LINKS
from airflow_provider_kernel.operators.base import KernelBaseOperator, see
from airflow_provider_kernel.validation import check_invocation_id

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.client.flow import Flow
    from airflow_provider_kernel.client.resources.invocations.models import Invocation

IfFinished = Literal["skip", "fail", "ignore"]
IfMissing = Literal["skip", "fail"]

_HOW_TO_SKIP = "If that is in order, as in a clean-up, set if_missing='skip': the task is skipped then"


class _EndInvocationOperator(KernelBaseOperator):
    """
    Base of these operators.

    :param invocation_id: the invocation (templated).
    :param if_finished: what to do when it had already ended: ``"skip"`` the task, ``"fail"`` it, or ``"ignore"``
        it and succeed. Default: ignore when it ended in the wanted status, else fail. The result of an invocation
        that has ended is never overwritten.
    :param if_missing: what to do when there is no invocation: ``"skip"`` the task, or ``"fail"`` it without a
        retry (default). There is none when ``invocation_id`` is ``None``, empty or ``"None"``, as when the task
        that was to start it started none, and when Kernel says for 30 seconds that it does not exist.
    """

    #: The status in which the invocation is to end.
    status: str
    operator_extra_links = DASHBOARD_LINKS

    def __init__(
        self,
        *,
        invocation_id: str,
        if_finished: IfFinished | None = None,
        if_missing: IfMissing = "fail",
        **kwargs: Any,
    ) -> None:
        if "output" in kwargs:
            # A template field has the name of its argument, and BaseOperator.output is the reference to XCom.
            raise KernelInputError("There is no argument 'output'; the invocation's output is 'invocation_output'")
        super().__init__(**kwargs)
        self.invocation_id = invocation_id
        self.if_finished = if_finished
        self.if_missing = if_missing

    def run_with_hook(self, context: Context) -> str:
        """
        End the invocation unless it has ended, and return its status.

        ``if_finished`` and ``if_missing`` say what else to do.
        """
        if self.if_missing == "skip" and is_missing(self.invocation_id):
            raise AirflowSkipException(f"invocation_id is {self.invocation_id!r}: there is no invocation to end")
        check_invocation_id(self.invocation_id, "to end", _HOW_TO_SKIP)
        if "status" in self.template_fields:
            check_rendered(self, "status")
        if self.status == InvocationStatus.SUCCEEDED:  # who waits must not get that from a task that then fails
            self.check_returned(self.status, context)
        self.log.info("Ending invocation %s as %s", self.invocation_id, self.status)
        self.show_dashboard(context["ti"], self.invocation_id)
        # Fetch it first: an update of an invocation that has ended may overwrite its result (undocumented).
        before = self._fetch()
        self.show_dashboard(context["ti"], before.id, app_name=before.app_name)
        if before.is_final:
            return self._handle_finished(before)
        try:
            invocation = self.end_invocation()
        except KernelInvocationFinishedError as race:
            return self._handle_finished(race.invocation)
        self.log.info("Invocation %s is now %s%s", invocation.id, invocation.status, see(self.dashboard))
        return invocation.status

    def end_invocation(self) -> Invocation:
        raise NotImplementedError

    def _fetch(self) -> Invocation:
        try:
            if self.if_missing == "skip":
                return self.hook.get_conn().run(self._fetch_patiently())
            return self.hook.get_invocation(self.invocation_id)
        except KernelNotFoundError as error:
            if not error.says_absent:
                raise
            if self.if_missing == "skip":
                raise AirflowSkipException(str(error)) from None
            error.advice = f"{error.advice}. {_HOW_TO_SKIP}"
            raise

    def _fetch_patiently(self) -> Flow[Invocation]:
        """Fetch it, and repeat that after "not found": of one that was just started, a skip would forget it."""
        from airflow_provider_kernel.client.outage import Outage, persist
        from airflow_provider_kernel.client.resources.invocations import requests

        outage = Outage(f"invocation {self.invocation_id}", is_new=True)
        return persist(
            lambda: iter(requests.get_invocation(self.invocation_id)),
            outage,
            repeats=lambda error: error.says_absent,
        )

    def _handle_finished(self, invocation: Invocation) -> str:
        is_wanted = invocation.status == self.status
        decision = self.if_finished or ("ignore" if is_wanted else "fail")
        finished = KernelInvocationFinishedError(invocation, self.status)
        if decision == "fail":
            raise finished
        if decision == "skip":
            raise AirflowSkipException(str(finished))
        self.log.info(
            "Invocation %s had already ended as %s%s", invocation.id, invocation.status, see(self.dashboard)
        )
        return invocation.status


class KernelUpdateInvocationOperator(_EndInvocationOperator):
    """
    End an invocation: set its status, and its output if one is given.

    :param invocation_id: the invocation (templated).
    :param status: ``"succeeded"`` or ``"failed"`` (templated).
    :param invocation_output: its output, any value that JSON can hold; ``None`` is sent as ``null``. Default: no
        output is sent (templated).
    :param if_finished: what to do when it had already ended: ``"skip"``, ``"fail"`` or ``"ignore"``. Default:
        ignore when it ended in the wanted status, else fail.
    :param if_missing: what to do when there is no invocation, as in a clean-up: ``"skip"`` the task, or ``"fail"``
        it. No id counts as none, and an id that Kernel does not know.
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    template_fields: Sequence[str] = ("invocation_id", "status", "invocation_output", "kernel_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"invocation_output": "json"}
    ui_color = "#e4ecd9"

    def __init__(self, *, status: str, invocation_output: Any = UNSET, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.status = status
        self.invocation_output = invocation_output
        check_arguments(self)

    def end_invocation(self) -> Invocation:
        return self.hook.update_invocation(self.invocation_id, self.status, self.invocation_output)


class KernelCompleteInvocationOperator(_EndInvocationOperator):
    """
    End an invocation as ``succeeded``, with an output. Its browsers end as well.

    :param invocation_id: the invocation (templated).
    :param invocation_output: its output, any value that JSON can hold; ``None`` is sent as ``null``. Default: no
        output is sent (templated).
    :param if_finished: what to do when it had already ended: ``"skip"``, ``"fail"`` or ``"ignore"``. Default:
        ignore when it succeeded, else fail.
    :param if_missing: what to do when there is no invocation, as in a clean-up: ``"skip"`` the task, or ``"fail"``
        it. No id counts as none, and an id that Kernel does not know.
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    status = InvocationStatus.SUCCEEDED.value
    template_fields: Sequence[str] = ("invocation_id", "invocation_output", "kernel_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"invocation_output": "json"}
    ui_color = "#c9ecc4"

    def __init__(self, *, invocation_output: Any = UNSET, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.invocation_output = invocation_output
        check_arguments(self)

    def end_invocation(self) -> Invocation:
        return self.hook.complete_invocation(self.invocation_id, self.invocation_output)


class KernelCancelInvocationOperator(_EndInvocationOperator):
    """
    Cancel an invocation: end it as ``failed`` with a reason, and end its browsers.

    :param invocation_id: the invocation (templated).
    :param reason: the reason; it becomes the invocation's output, ``{"error": reason}`` (templated).
    :param if_finished: what to do when it had already ended: ``"skip"``, ``"fail"`` or ``"ignore"``. Default:
        ignore when it failed, else fail.
    :param if_missing: what to do when there is no invocation, as in a clean-up: ``"skip"`` the task, or ``"fail"``
        it. No id counts as none, and an id that Kernel does not know.
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    status = InvocationStatus.FAILED.value
    template_fields: Sequence[str] = ("invocation_id", "reason", "kernel_conn_id")
    ui_color = "#fbe0d5"

    def __init__(self, *, reason: str = EndReason.CANCELLED.value, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reason = reason
        check_arguments(self)

    def end_invocation(self) -> Invocation:
        invocation = self.hook.cancel_invocation(self.invocation_id, self.reason)
        if invocation.status == InvocationStatus.SUCCEEDED:
            raise KernelInvocationFinishedError(invocation, self.status)
        return invocation
