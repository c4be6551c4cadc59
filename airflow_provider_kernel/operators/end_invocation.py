"""The operators that end an invocation which another task or program started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_kernel._compat import AirflowSkipException
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.lifecycle.resource import EndReason
from airflow_provider_kernel.links.kernel import DASHBOARD
from airflow_provider_kernel.operators.base import KernelBaseOperator
from airflow_provider_kernel.validation import check_no_multiple_outputs

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.client.resources.invocations.models import Invocation

IfFinished = Literal["skip", "fail", "ignore"]


class _EndInvocationOperator(KernelBaseOperator):
    """
    Base of these operators.

    :param invocation_id: the invocation (templated).
    :param if_finished: what to do when it had already ended: ``"skip"`` the task, ``"fail"`` it, or ``"ignore"``
        it and succeed. Default: ignore when it ended in the wanted status, else fail. The result of an invocation
        that has ended is never overwritten.
    """

    #: The status in which the invocation is to end.
    status: str
    operator_extra_links = (DASHBOARD,)

    def __init__(self, *, invocation_id: str, if_finished: IfFinished | None = None, **kwargs: Any) -> None:
        if "output" in kwargs:
            # A template field has the name of its argument, and BaseOperator.output is the reference to XCom.
            raise KernelInputError("There is no argument 'output'; the invocation's output is 'invocation_output'")
        super().__init__(**kwargs)
        check_no_multiple_outputs(self.pushes_items, "a status")
        self.invocation_id = invocation_id
        self.if_finished = if_finished
        if if_finished not in (None, "skip", "fail", "ignore"):
            raise KernelInputError(
                f"if_finished is {if_finished!r}; it takes 'skip', 'fail', 'ignore', or None for the default"
            )

    def run_with_hook(self, context: Context) -> str:
        """End the invocation unless it has ended, and return its status. ``if_finished`` says what else to do."""
        self.log.info("Ending invocation %s as %s", self.invocation_id, self.status)
        self.show_dashboard(context["ti"], self.invocation_id)
        # Fetch it first: an update of an invocation that has ended may overwrite its result (undocumented).
        before = self.hook.get_invocation(self.invocation_id)
        self.show_dashboard(context["ti"], before.id, app_name=before.app_name)
        if before.is_final:
            return self._handle_finished(before)
        try:
            invocation = self.end_invocation()
        except KernelInvocationFinishedError as race:
            return self._handle_finished(race.invocation)
        self.log.info("Invocation %s is now %s; see %s", invocation.id, invocation.status, self.dashboard)
        return invocation.status

    def end_invocation(self) -> Invocation:
        raise NotImplementedError

    def _handle_finished(self, invocation: Invocation) -> str:
        is_wanted = invocation.status == self.status
        decision = self.if_finished or ("ignore" if is_wanted else "fail")
        finished = KernelInvocationFinishedError(invocation, self.status)
        if decision == "fail":
            raise finished
        if decision == "skip":
            raise AirflowSkipException(str(finished))
        self.log.info(
            "Invocation %s had already ended as %s; see %s", invocation.id, invocation.status, self.dashboard
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
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    template_fields: Sequence[str] = ("invocation_id", "status", "invocation_output", "kernel_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"invocation_output": "json"}
    ui_color = "#e4ecd9"

    def __init__(self, *, status: str, invocation_output: Any = UNSET, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.status = status
        self.invocation_output = invocation_output

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
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    status = InvocationStatus.SUCCEEDED.value
    template_fields: Sequence[str] = ("invocation_id", "invocation_output", "kernel_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"invocation_output": "json"}
    ui_color = "#c9ecc4"

    def __init__(self, *, invocation_output: Any = UNSET, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.invocation_output = invocation_output

    def end_invocation(self) -> Invocation:
        return self.hook.complete_invocation(self.invocation_id, self.invocation_output)


class KernelCancelInvocationOperator(_EndInvocationOperator):
    """
    Cancel an invocation: end it as ``failed`` with a reason, and end its browsers.

    :param invocation_id: the invocation (templated).
    :param reason: the reason; it becomes the invocation's output, ``{"error": reason}`` (templated).
    :param if_finished: what to do when it had already ended: ``"skip"``, ``"fail"`` or ``"ignore"``. Default:
        ignore when it failed, else fail.
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    status = InvocationStatus.FAILED.value
    template_fields: Sequence[str] = ("invocation_id", "reason", "kernel_conn_id")
    ui_color = "#fbe0d5"

    def __init__(self, *, reason: str = EndReason.CANCELLED.value, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reason = reason

    def end_invocation(self) -> Invocation:
        invocation = self.hook.cancel_invocation(self.invocation_id, self.reason)
        if invocation.status == InvocationStatus.SUCCEEDED:
            raise KernelInvocationFinishedError(invocation, self.status)
        return invocation
