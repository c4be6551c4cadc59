"""The base of all operators and sensors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_kernel.client.errors import KernelError, KernelInputError, KernelTaskKilledError
from airflow_provider_kernel.client.safe_logger import SafeLogMixin, side_information
from airflow_provider_kernel.connection_form import DEFAULT_CONN_ID
from airflow_provider_kernel.operators._partial import CheckedPartial
from airflow_provider_kernel.operators._run import Run
from airflow_provider_kernel.templating import TextRenderingMixin
from airflow_provider_kernel.validation import DEFAULT_OUTPUT_AS, OutputAs

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_provider_kernel.client.resources.invocations.state import InvocationState
    from airflow_provider_kernel.hooks.kernel import KernelHook


class KernelClientMixin(TextRenderingMixin, SafeLogMixin):
    """
    Calls the Kernel API from an operator or a sensor.

    An error that a retry cannot mend fails the task at once, without using up its retries. It is the attribute
    ``kernel_error`` of the ``AirflowFailException`` that is raised.
    """

    #: The Airflow connection.
    kernel_conn_id: str
    do_xcom_push: bool
    multiple_outputs: bool
    #: Whether the task waits in the triggerer, and whether it waits at all.
    deferrable: bool = False
    wait_for_completion: bool = True
    #: The form in which an output goes into XCom.
    output_as: OutputAs = DEFAULT_OUTPUT_AS
    partial = CheckedPartial()

    @property
    def pushes_items(self) -> bool:
        """Whether Airflow pushes each item of the task's result to XCom."""
        return self.multiple_outputs and self.do_xcom_push

    @property
    def hook(self) -> KernelHook:
        """The hook of the present run."""
        run = self._run
        if run.hook is None:
            # Imported late: a DAG file is parsed far more often than its tasks run.
            from airflow_provider_kernel.hooks.kernel import KernelHook

            run.hook = KernelHook(self.kernel_conn_id, sleep=self.sleep)
        return run.hook

    @property
    def dashboard(self) -> str | None:
        """The URL of the link on the task's page, once it is known."""
        return self._run.dashboard or None

    @property
    def known_link(self) -> str | None:
        """What the task's page is to link to from now on; empty: nothing; ``None``: this process does not know."""
        return self._run.link

    def sleep(self, seconds: float) -> None:
        """Wait before a request is sent again; a kill may end it with an error."""
        self._run.sleep(seconds)

    @property
    def _run(self) -> Run:
        """The run that this thread has begun; for another thread the latest one."""
        # Each in one step: a signal handler may ask for it, too.
        run: Run | None = self._runs.get(threading.get_ident())
        return run or self.__dict__.setdefault("_present_run", Run())

    @property
    def _runs(self) -> dict[int, Run]:
        """The last run of each thread: two threads that execute one object do not share a hook."""
        runs: dict[int, Run] = self.__dict__.setdefault("_runs_by_thread", {})
        return runs

    def _kill_runs(self) -> None:
        """Kill what goes on, in all threads. Runs in a signal handler."""
        for run in {*tuple(self._runs.values()), self._run}:
            run.kill()

    def _begin_run(self, *, is_resumed: bool = False) -> None:
        """
        Make the state of a run. The first act of ``execute``, and of what goes on after a deferral.

        :param is_resumed: whether the task goes on after a deferral.
        """
        last = self._run
        run = self._present_run = self._runs[threading.get_ident()] = Run(has_begun=True, is_resumed=is_resumed)
        run.take_over(last)

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        try:
            super()._do_render_template_fields(*args, **kwargs)
        except KernelInputError as error:
            from airflow_provider_kernel.operators._failure import failure_of, log_failure

            log_failure(error, self.log)
            raise failure_of(error) from None

    def __getstate__(self) -> Any:
        state = super().__getstate__()  # type: ignore[misc]
        for name in ("_present_run", "_runs_by_thread"):  # they hold the key, threads and connections
            state.pop(name, None)
        return state

    def show_dashboard(
        self, ti: Any, invocation_id: str, *, app_name: str | None = None, session_id: str | None = None
    ) -> None:
        """Put the link to the dashboard on the task's page, unless it leads nowhere in particular."""
        from airflow_provider_kernel.client.dashboard import dashboard_link, needs_browser

        template = self.hook.config.dashboard_url  # an error of the connection is the task's
        with side_information("The task has no link to the dashboard", self.log):
            run, lacks_browser = self._run, session_id is None and needs_browser(template)
            run.keeps_stored_link = lacks_browser and self._ends_soon
            link = dashboard_link(template, invocation_id, app_name=app_name, session_id=session_id)
            if link is not None and link != run.dashboard:
                run.dashboard = link
                if lacks_browser or not self._ends_soon:  # else Airflow stores it in a moment
                    from airflow_provider_kernel.links.kernel import DASHBOARD

                    DASHBOARD.write(ti, link, log=self.log)

    @property
    def _ends_soon(self) -> bool:
        """Whether this process of the task ends, or defers, soon after it knows its invocation."""
        return self.deferrable or not self.wait_for_completion

    def dashboard_of(self, invocation_id: str, *, app_name: str | None = None) -> str | None:
        """Return the URL of the link, also after a deferral: then another process has written the link."""
        run = self._run
        if run.dashboard is not None:
            return run.dashboard or None
        from airflow_provider_kernel.client.dashboard import dashboard_link, needs_browser

        try:
            template = self.hook.config.dashboard_url
        except KernelError:  # it is what the task fails with
            return None
        link = dashboard_link(template, invocation_id, app_name=app_name)
        if not needs_browser(template):  # else what is stored may be better
            run.dashboard = link or ""
        return link

    def _carried_by(self, event: dict[str, Any] | None) -> InvocationState | None:
        """Return the result that the event of a trigger carries, if it does, and take over the link."""
        from airflow_provider_kernel.owned.carried_result import read_carried

        event = event or {}
        carried = read_carried(event)
        if carried is not None and "dashboard" in event:
            self._run.dashboard = event["dashboard"] or ""
        return carried

    def log_early_end(
        self, invocation_id: str, why: str, started: datetime | None, *, app_name: str | None = None
    ) -> None:
        """Log that the task ends before its invocation, and the link to it."""
        with side_information("The task's early end could not be logged", self.log):
            duration = "" if started is None else f" after {time.time() - started.timestamp():.1f} s"
            link = self.dashboard_of(invocation_id, app_name=app_name)
            self.log.info(
                "The task no longer waits for invocation %s%s (%s)%s", invocation_id, duration, why, see(link)
            )

    def result_of(
        self, invocation: InvocationState, context: Context, *, app_name: str | None, max_output_bytes: int
    ) -> Any:
        """
        Log how an invocation ended, and the link to it. Return its output, or raise its error.

        :raises KernelOutputError: when its output cannot be put into XCom, or not be mapped over, or Airflow would
            refuse the task's success for another reason.
        """
        from airflow_provider_kernel.client.resources.invocations.errors import KernelOutputError
        from airflow_provider_kernel.client.resources.invocations.result import check_result
        from airflow_provider_kernel.operators._success import find_refusal
        from airflow_provider_kernel.xcom import hand_on

        with side_information("The invocation's end could not be logged", self.log):
            duration = "" if invocation.seconds is None else f" after {invocation.seconds:.1f} s"
            link = self.dashboard_of(invocation.id, app_name=app_name)
            self.log.info("Invocation %s %s%s%s", invocation.id, invocation.status, duration, see(link))
        check_result(invocation, max_output_bytes=max_output_bytes if self.do_xcom_push else None)
        result = hand_on(
            invocation,
            output_as=self.output_as,
            is_pushed=self.do_xcom_push,
            multiple_outputs=self.multiple_outputs,
            is_mapped_over=self.is_mapped_over(context["ti"]),
        )
        if (refusal := find_refusal(self, context)) is not None:
            raise KernelOutputError(f"Invocation {invocation.id} succeeded, but Airflow refuses that: {refusal}")
        return result

    def check_returned(self, value: Any, context: Context) -> None:
        """
        Check what a task is about to return, before it does what cannot be undone.

        :raises KernelInputError: when Airflow would refuse it afterwards.
        """
        from airflow_provider_kernel.operators._success import find_refusal
        from airflow_provider_kernel.xcom import check_returned

        check_returned(
            value,
            is_pushed=self.do_xcom_push,
            multiple_outputs=self.multiple_outputs,
            is_mapped_over=self.is_mapped_over(context["ti"]),
        )
        if (refusal := find_refusal(self, context)) is not None:
            raise KernelInputError(f"Airflow refuses the success of the task: {refusal}")

    def is_mapped_over(self, ti: Any) -> bool:
        """Whether Airflow requires an output that a task can be mapped over; of a mapped task it requires none."""
        operator: Any = self
        if operator.get_dag() is None or next(operator.iter_mapped_dependants(), None) is None:
            return False
        from airflow_provider_kernel.lifecycle.task_instances import is_mapped

        return not is_mapped(ti)

    @contextmanager
    def calling_kernel(self, *, runs_code_of_users: bool = False) -> Iterator[None]:
        """
        Close the hook after the block, and fail the task without a retry where a retry cannot help.

        :param runs_code_of_users: whether an error may come from there, so that its traceback is shown.
        """
        try:
            yield
        except KernelError as error:
            from airflow_provider_kernel.operators._failure import fail, failure_of, log_failure

            if not isinstance(error, KernelTaskKilledError):  # the kill has been logged
                log_failure(error, self.log)
            if not runs_code_of_users:
                raise failure_of(error) from None
            if error.permanent:
                raise fail(error) from error
            raise
        finally:
            self._run.close_hook()


class KernelBaseOperator(KernelClientMixin, BaseOperator):
    """
    Base of the operators that call the Kernel API. A subclass writes :meth:`run_with_hook`.

    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    template_fields: Sequence[str] = ("kernel_conn_id",)
    ui_color = "#d8f3e6"
    ui_fgcolor = "#1a1a1a"

    def __init__(self, *, kernel_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_conn_id = kernel_conn_id

    def execute(self, context: Context) -> Any:
        """Run the task. An error that a retry cannot mend becomes an ``AirflowFailException``."""
        self._begin_run()
        with self.calling_kernel():
            return self.run_with_hook(context)

    def run_with_hook(self, context: Context) -> Any:
        """Do the work of the operator, and return what goes into XCom."""
        raise NotImplementedError


def see(link: str | None) -> str:
    """Return the end of a log line that names a link, if there is one."""
    return "" if link is None else f"; see {link}"
