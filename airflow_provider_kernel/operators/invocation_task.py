"""The operator whose function responds to a waiting invocation."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.python import PythonOperator

from airflow_provider_kernel._compat import (
    GOES_ON,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from airflow_provider_kernel.client.errors import KernelError, KernelLostContactError
from airflow_provider_kernel.client.resources.invocations.errors import (
    KernelInvocationFinishedError,
    KernelOutputError,
)
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.sanitize import sanitize_line
from airflow_provider_kernel.connection_form import DEFAULT_CONN_ID
from airflow_provider_kernel.handoff import (
    CONF_KEY,
    INVOCATION_ID_FROM_CONF,
    MAX_OUTPUT_BYTES,
    check_output,
    redact,
)
from airflow_provider_kernel.invocation_arguments import check_arguments
from airflow_provider_kernel.lifecycle.resource import EndReason
from airflow_provider_kernel.operators._links import DASHBOARD_LINKS
from airflow_provider_kernel.operators.base import KernelClientMixin, see
from airflow_provider_kernel.templating import read_values
from airflow_provider_kernel.validation import check_invocation_id

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.client.resources.invocations.models import Invocation
    from airflow_provider_kernel.lifecycle.ledger import Ledger
    from airflow_provider_kernel.operators._responder import InvocationResponder

_TRACEBACK_CHARACTERS = 20_000


class WaitingInvocation:
    """The invocation that waits for a task's function, as the function sees it."""

    def __init__(self, responder: InvocationResponder) -> None:
        self._responder = responder

    @property
    def id(self) -> str:
        return self._responder.invocation_id

    def check(self) -> None:
        """
        Stop the work when nobody waits for it any more. Call it now and then in a long function.

        It sends a request at most once a second, and returns when Kernel cannot be reached at the moment.

        :raises KernelLostContactError: when Kernel has refused the key for minutes; the invocation is left alone.
        :raises KernelInvocationFinishedError: when the invocation has ended; the task fails without a retry.
        :raises KernelTaskKilledError: when the task was killed.
        """
        self._responder.check()

    def __copy__(self) -> WaitingInvocation:
        return self  # it stands for what goes on in this process

    def __deepcopy__(self, memo: dict[int, object]) -> WaitingInvocation:
        return self

    def __reduce__(self) -> Any:
        raise TypeError("A WaitingInvocation is of the process of its task and cannot be pickled. Pass its id on")

    def __repr__(self) -> str:
        return f"<WaitingInvocation {self.id}>"


class KernelInvocationTaskOperator(KernelClientMixin, PythonOperator):
    """
    Run a Python function for an invocation that waits: its return value becomes the invocation's output.

    A Kernel action hands its ``ctx.invocation_id`` to a DAG run and stays alive. This task ends it, so that the
    caller of the action gets Airflow's result. ``@task.kernel_invocation`` is its decorator.

    The rule: while another try will follow, the invocation is left to it; when the task ends for good, so does the
    invocation.

    ===============================================  ==========================================================
    The task                                         The invocation
    ===============================================  ==========================================================
    returns                                          ``succeeded``, with what it returned
    returns what JSON or XCom cannot hold, too much  ``failed``, with that reason; no retry
    raises, retries left                             goes on; the next try answers
    raises, none left; raises AirflowFailException   ``failed``: class and message
    raises AirflowSkipException                      ``failed``: it was skipped
    skips the tasks after it                         ``failed``: the task succeeds, without an output
    defers, reschedules, waits for a person's input  goes on, as the try does
    runs into its ``execution_timeout``              as when it raises
    is marked as failed; its run fails or times out  ``failed``, within seconds
    is marked as success                             ``failed``: there is no output, and a caller should know
    is cleared                                       goes on; the new try answers
    gets a SIGTERM (worker shutdown)                 goes on with retries left, else ``failed``
    is killed, and Airflow does not say why          ``failed``: better than to wait for ever
    finds its key refused for five minutes           goes on; the next try answers, or the callback below ends it
    gets a SIGKILL, retries left                     goes on; the next try answers, unless this one had
    gets a SIGKILL, none left                        the DAG's ``fail_kernel_invocation()`` ends it
    finds it ended by somebody else                  stays as it is; the task fails without a retry
    ===============================================  ==========================================================

    The function can take an argument ``kernel_invocation``, a :class:`WaitingInvocation`. It has the invocation's
    ``id``, and ``check()``, which stops a long function when nobody waits any more.

    :param python_callable: the function.
    :param op_args: its positional arguments, as for ``PythonOperator`` (templated).
    :param op_kwargs: its named arguments, as for ``PythonOperator`` (templated).
    :param templates_dict: its ``templates_dict``, as for ``PythonOperator`` (templated).
    :param invocation_id: the invocation (templated). Default: ``kernel_invocation_id`` in the DAG run's ``conf``.
    :param include_traceback: whether a failure's output has the traceback; it may show code and data.
    :param max_output_bytes: the largest output, in bytes of JSON.
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    template_fields: Sequence[str] = ("invocation_id", *PythonOperator.template_fields, "kernel_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {**PythonOperator.template_fields_renderers}
    operator_extra_links = DASHBOARD_LINKS
    ui_color = "#e6dcf5"
    ui_fgcolor = "#1a1a1a"

    def __init__(
        self,
        *,
        invocation_id: str = INVOCATION_ID_FROM_CONF,
        include_traceback: bool = False,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        kernel_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        # An output may hold anything, and is never logged.
        kwargs.setdefault("show_return_value_in_logs", False)
        super().__init__(**kwargs)
        self.invocation_id = invocation_id
        self.include_traceback = include_traceback
        self.max_output_bytes = max_output_bytes
        self.kernel_conn_id = kernel_conn_id
        check_arguments(self)

    def execute(self, context: Context) -> Any:
        """
        Run the function and end the invocation with its return value.

        :raises AirflowFailException: when the invocation had ended before, or cannot take the return value.
        :raises KernelTaskKilledError: when the task was killed meanwhile.
        """
        from airflow_provider_kernel.lifecycle.task_instances import has_retries_left
        from airflow_provider_kernel.operators._responder import InvocationResponder

        self._begin_run()
        with self.calling_kernel(runs_code_of_users=True):
            check_invocation_id(
                self.invocation_id,
                "to answer",
                f'Trigger the DAG with the conf {{"{CONF_KEY}": "<id>"}}, or set invocation_id',
            )
            retries_left = has_retries_left(context["ti"])
            responder = InvocationResponder(
                self.hook.config,
                self.invocation_id,
                ti=context["ti"],
                kernel_conn_id=self.kernel_conn_id,
                retries_left=retries_left,
            )
            try:
                self._run.on_kill(responder.kill)
                return self._respond(responder, context)
            finally:
                responder.close()

    def on_kill(self) -> None:
        """End the invocation, or leave it to the next try. Runs in a signal handler."""
        self._kill_runs()

    def _respond(self, responder: InvocationResponder, context: Context) -> Any:
        from airflow_provider_kernel.lifecycle.ledger import Ledger, fingerprint
        from airflow_provider_kernel.owned.invocation import EndableInvocation

        # Airflow 3.3 has the store; on older versions nothing is remembered.
        ledger = Ledger(EndableInvocation.kind, context.get("task_state_store"), context["ti"])
        response = fingerprint("answer", self.invocation_id)
        try:
            responder.check_killed()
            responder.publish()
            # Only now: Airflow may be slow here, and a kill must find the responder.
            self.show_dashboard(context["ti"], self.invocation_id)
            before = responder.fetch()
            self.show_dashboard(context["ti"], before.id, app_name=before.app_name)
            if before.is_final:
                responder.settle()
                return self._response_of_crashed_try(before, ledger, response)
            returned = read_values(self._call(responder, context))
            responder.check_killed()
            check_output(returned, self.max_output_bytes)
            self.check_returned(returned, context)
            ledger.record_intent(response)
            responder.complete(returned)  # the last act that can fail
        except BaseException as error:
            try:
                self._end_after_error(responder, error, context)
            except AirflowTaskTimeout as timeout:  # the execution_timeout interrupts any line, but only once
                self._end_after_error(responder, timeout, context)
                raise
            raise
        self.log.info("Invocation %s was answered%s", self.invocation_id, see(self.dashboard))
        return returned

    def _call(self, responder: InvocationResponder, context: Context) -> Any:
        waiting = WaitingInvocation(responder)
        context["kernel_invocation"] = waiting  # type: ignore[typeddict-unknown-key]
        given = self.op_kwargs
        if "kernel_invocation" in given:
            self.op_kwargs = {**given, "kernel_invocation": waiting}
        try:
            return super().execute(context)
        finally:
            # PythonOperator keeps the context in them, which the function would get in the next run, too.
            self.op_kwargs = given
            vars(self).pop("_PythonOperator__prepare_execution", None)

    def _end_after_error(self, responder: InvocationResponder, error: BaseException, context: Context) -> None:
        """Leave the invocation to the next try, or end it."""
        from airflow_provider_kernel.lifecycle.task_instances import will_be_retried

        if self._run.is_of_another_process:
            return  # a child that the function has forked has failed, and not the task
        if isinstance(error, (KernelInvocationFinishedError, KernelOutputError)):  # it has ended
            responder.settle()
            return
        if isinstance(error, GOES_ON):
            return
        responder.end_after_kill()  # raises in a killed task: kill() has decided already
        if isinstance(error, KernelLostContactError) and error.ends_nothing:
            self.log.info("Invocation %s is not ended: it is only Airflow's access that failed", self.invocation_id)
            return
        final = isinstance(error, KernelError) and error.permanent
        if not final and will_be_retried(context["ti"], error, context):
            self.log.info("Invocation %s is left to the next try", self.invocation_id)
            return
        responder.fail(_reason_of(error), self._details(error))

    def _details(self, error: BaseException) -> dict[str, str]:
        if not self.include_traceback:
            return {}
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        return {"traceback": redact(text)[-_TRACEBACK_CHARACTERS:]}

    def _response_of_crashed_try(self, invocation: Invocation, ledger: Ledger, response: str) -> Any:
        """Return the output with which a crashed try ended the invocation; raise if somebody else ended it."""
        from airflow_provider_kernel.xcom import hand_on_response

        last = ledger.last()
        is_ours = last is not None and ledger.is_of_crashed_try(last, response)
        if is_ours and invocation.status == InvocationStatus.SUCCEEDED:
            self.log.info("An earlier try, which crashed, had answered invocation %s", invocation.id)
            return hand_on_response(invocation, is_pushed=self.do_xcom_push, multiple_outputs=self.multiple_outputs)
        raise KernelInvocationFinishedError(invocation, InvocationStatus.SUCCEEDED.value)


def _reason_of(error: BaseException) -> str:
    """Put an error into one line, without the secrets that Airflow masks."""
    message = sanitize_line(redact(str(error)))
    if isinstance(error, AirflowSkipException):
        return EndReason.TASK_SKIPPED.because(message)
    name = type(error).__name__
    return f"{name}: {message}" if message else name
