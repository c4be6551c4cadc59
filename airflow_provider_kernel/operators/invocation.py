"""
The operators for invocations.

The one that starts an invocation and owns it stands here, those that end what something else started in
:mod:`airflow_provider_kernel.operators.end_invocation`; all are meant to be imported from here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow_provider_kernel._compat import TaskDeferred, conf
from airflow_provider_kernel.client.dashboard import dashboard_link, needs_browser
from airflow_provider_kernel.client.defaults import DEFAULT_DASHBOARD_URL
from airflow_provider_kernel.client.errors import KernelError, KernelInvocationKilledError, KernelLostContactError
from airflow_provider_kernel.client.resources.invocations.defaults import (
    DEFAULT_ASYNC_TIMEOUT_SECONDS,
    MAX_ASYNC_TIMEOUT_SECONDS,
    MIN_ASYNC_TIMEOUT_SECONDS,
)
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.links.kernel import DASHBOARD, LIVE_VIEW
from airflow_provider_kernel.operators.base import KernelBaseOperator
from airflow_provider_kernel.operators.end_invocation import (
    KernelCancelInvocationOperator,
    KernelCompleteInvocationOperator,
    KernelUpdateInvocationOperator,
)
from airflow_provider_kernel.validation import DEFAULT_MAX_LOG_LINES, check_poll_interval, check_whole_number

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from airflow_provider_kernel.client.resources.invocations.models import Browser, Invocation
    from airflow_provider_kernel.ledger import Ledger
    from airflow_provider_kernel.operators.guard import InvocationGuard
    from airflow_provider_kernel.operators.starting import Wanted

__all__ = [
    "KernelCancelInvocationOperator",
    "KernelCompleteInvocationOperator",
    "KernelInvokeOperator",
    "KernelUpdateInvocationOperator",
]

#: A deferrable task looks for so long before it defers.
_FIRST_LOOK_SECONDS = 0.5
#: How much longer than Kernel's own limit a task waits: for the queue, and for Kernel to act on its limit.
_DEADLINE_GRACE_SECONDS = 300


class KernelInvokeOperator(KernelBaseOperator):
    """
    Start an invocation, wait for it, and return its output.

    The invocation belongs to the task: whenever the task ends otherwise than by the invocation's own end (killed,
    marked, cleared, timed out, any error), it is cancelled and its browsers are ended, whether the task waits on a
    worker or is deferred. Its id is pushed to XCom as ``invocation_id`` as soon as it is known. Payload and output
    are never logged; Airflow itself shows the one among the task's rendered templates, and the other in XCom.

    It is started exactly once. A start whose answer gets lost is looked up among Kernel's invocations. When a
    worker crashes, the next try takes up what the crashed one had started, and uses its result if it is there; when
    the task is cleared, what its try had started is cancelled, and the next one starts afresh. (Over crashes and
    clears this needs what Airflow 3.3 keeps for a task; on older versions a retry starts anew.) A failed invocation
    fails the task, and a retry of the task starts a new one.

    ``execution_timeout`` counts from the start of the task, over deferrals too, and ends in
    ``KernelInvocationTimeoutError`` when the task is deferred.

    :param app_name: the Kernel app (templated).
    :param action_name: the app's action (templated).
    :param payload: its input, any value that JSON can hold; text is sent as a JSON string. ``None``: no payload
        (templated).
    :param version: the app's version label (templated).
    :param async_timeout_seconds: when Kernel ends the invocation by itself, 10 to 3600: the last backstop, for when
        nothing of Airflow is left to cancel it. Default: the task's ``execution_timeout`` and a minute, within
        that range; without an ``execution_timeout`` Kernel's own 900.
    :param wait_for_completion: ``False`` returns the id at once, and the invocation outlives the task.
    :param deferrable: whether to wait in the triggerer, which takes no worker slot. Default: what
        ``[operators] default_deferrable`` says. One that ends at once is not deferred.
    :param poll_interval: seconds between two looks at the invocation; the first ones come sooner.
    :param stream_logs: whether to write the invocation's log lines into the task's log, as they come.
    :param max_log_lines: how many of them at most.
    :param durable: ``False`` forgets what earlier tries started: every try starts a new invocation.
    :param correlation_key: a key under which to put a mark of the task into the payload, which must be a JSON
        object: ``{"dag_id", "run_id", "task_id", "map_index", "try_number", "token"}``. It makes looking up a lost
        start exact, also for mapped tasks with equal payloads.
    :param cancel_on_kill: ``False`` leaves the invocation running when the task ends otherwise than well.
    :param max_output_bytes: the largest output to put into XCom; a larger one fails the task, since the database
        that holds XComs has limits too.
    :param live_view_link: whether to put a second link on the task's page, to the live view of the invocation's
        first browser. **Its address carries a token, so everyone who can see the task can watch that browser, and
        use it**, for as long as it lives; hence it is off by default. The browser is asked for after each look at
        the running invocation until there is one, 20 times at most.
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    #: The kind of object that a task owns; the safety net finds it by this name.
    owned_kind: ClassVar[str] = "invocation"

    template_fields: Sequence[str] = ("app_name", "action_name", "payload", "version", "kernel_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"payload": "json"}

    @property
    def operator_extra_links(self) -> tuple[BaseOperatorLink, ...]:  # type: ignore[override]
        """The links on the task's page. Airflow also asks this of a mapped task, which is only described."""
        described = getattr(self, "partial_kwargs", None) or {}
        live_view = described.get("live_view_link", getattr(self, "live_view_link", False))
        return (DASHBOARD, LIVE_VIEW) if live_view else (DASHBOARD,)

    def __init__(
        self,
        *,
        app_name: str,
        action_name: str,
        payload: Any = None,
        version: str = "latest",
        async_timeout_seconds: int | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 10.0,
        stream_logs: bool = True,
        max_log_lines: int = DEFAULT_MAX_LOG_LINES,
        cancel_on_kill: bool = True,
        durable: bool = True,
        correlation_key: str | None = None,
        max_output_bytes: int = 1024 * 1024,
        live_view_link: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.app_name = app_name
        self.action_name = action_name
        self.payload = payload
        self.version = version
        self.async_timeout_seconds = async_timeout_seconds
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.stream_logs = stream_logs
        self.max_log_lines = max_log_lines
        self.cancel_on_kill = cancel_on_kill
        self.durable = durable
        self.correlation_key = correlation_key
        self.max_output_bytes = max_output_bytes
        self.live_view_link = live_view_link
        check_poll_interval(poll_interval)
        check_whole_number("max_output_bytes", max_output_bytes)
        check_whole_number("max_log_lines", max_log_lines)
        self._guard: InvocationGuard | None = None
        self._killed = False
        self._ti: Any = None

    def run_with_hook(self, context: Context) -> Any:
        """
        Start the invocation and wait for it, or defer until it has ended.

        :param context: the task's context.
        :return: the invocation's output; without ``wait_for_completion`` its id.
        :raises KernelInvocationFailedError: when it ended as ``failed``.
        :raises KernelInvocationKilledError: when the task was killed meanwhile.
        :raises KernelInvocationTimeoutError: when it did not end long after its own time limit.
        """
        from airflow_provider_kernel.operators.guard import InvocationGuard
        from airflow_provider_kernel.operators.starting import Starter

        wanted = self._wanted()
        wanted.request(context["ti"], token="")  # raises for what cannot be right, before anything is done
        ledger = self._ledger(context)
        guard = self._guard = InvocationGuard(self.hook.config, cancel=self.cancel_on_kill)
        try:
            if self._killed:  # by a signal that came before there was a guard
                guard.kill()
            self.log.info("Invoking %s/%s, version %s", self.app_name, self.action_name, self.version)
            starter = Starter(wanted, hook=self.hook, guard=guard, ledger=ledger, ti=context["ti"])
            invocation_id = starter.run()
            self.log.info("Invocation %s was accepted", invocation_id)
            context["ti"].xcom_push(key="invocation_id", value=invocation_id)
            self._ti = context["ti"]
            self.show_dashboard(self._ti, invocation_id, app_name=self.app_name)
            guard.check()
            if not self.wait_for_completion:
                guard.release()
                return invocation_id
            deadline = self._deadline(context)
            if self.deferrable:
                invocation = self._wait_a_moment(guard, invocation_id)
                if invocation is None:
                    self._refuse_unless_running(context)
                    guard.check()
                    guard.release()  # to the trigger
                    self._defer(invocation_id, deadline)
            else:
                invocation = self._wait(guard, invocation_id, deadline)
            guard.release()
            guard.check()
        except TaskDeferred:
            raise
        except BaseException as error:
            if not self._leave_to_the_next_try(error, ledger, context):
                guard.cancel(_reason(error))
                self._close(ledger)
            if guard.invocation_id is not None:
                self._tell_early_end(guard.invocation_id, error, context)
            raise
        finally:
            guard.close()
        return self._finish(invocation, ledger)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """
        Go on after the deferral.

        :param context: the task's context.
        :param event: what the trigger told.
        :return: the invocation's output.
        :raises KernelInvocationFailedError: when it ended as ``failed``.
        :raises KernelInvocationTimeoutError: when it did not end in time; it has been cancelled.
        :raises KernelError: when the trigger lost contact with it; it has been cancelled.
        """
        from airflow_provider_kernel.operators.resume import end_of_deferral

        with self.calling_kernel():
            ledger = self._ledger(context)
            invocation_id = self._invocation_id(context)
            try:
                invocation = end_of_deferral(self.hook, event, invocation_id)
            except KernelError as error:
                if not self._leave_to_the_next_try(error, ledger, context):
                    if invocation_id is not None:
                        self._give_up(invocation_id, error)
                    self._close(ledger)
                if invocation_id is not None:
                    self._tell_early_end(invocation_id, error, context)
                raise
            return self._finish(invocation, ledger)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after the deferral, also when Airflow ended it: then no trigger is left, and nobody else would cancel.

        :param next_method: what to call; ``__fail__`` when the deferral timed out or the trigger crashed.
        :param next_kwargs: its arguments.
        :param context: the task's context.
        """
        if next_method == "__fail__":
            with self.calling_kernel():
                invocation_id = self._invocation_id(context)
                if invocation_id is not None:
                    self._give_up(invocation_id, "Airflow ended its deferral")
                    self._close(self._ledger(context))
                    self._tell_early_end(invocation_id, "Airflow ended its deferral", context)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the invocation. Runs in a signal handler; see :mod:`airflow_provider_kernel.operators.guard`."""
        self._killed = True
        if self._guard is not None:
            self._guard.kill()

    def sleep(self, seconds: float) -> None:
        """
        Wait before a request is sent again, unless the task is killed.

        :param seconds: how long.
        :raises KernelInvocationKilledError: then.
        """
        if self._guard is None:
            super().sleep(seconds)
        else:
            self._guard.wait(seconds)

    def _wait(self, guard: InvocationGuard, invocation_id: str, deadline: float) -> Invocation:
        """Look at the invocation until it is over."""
        with self._log_stream(guard, invocation_id):
            return self._watch(invocation_id, deadline)

    def _wait_a_moment(self, guard: InvocationGuard, invocation_id: str) -> Invocation | None:
        """Look whether it is over at once, so that a short run need not be deferred."""
        try:
            invocation = self._watch(invocation_id, time.time() + _FIRST_LOOK_SECONDS)
        except KernelInvocationTimeoutError:
            return None
        # Only now: of one that is deferred, the trigger shows the lines from the first one on.
        with self._log_stream(guard, invocation_id):
            return invocation

    def _log_stream(self, guard: InvocationGuard, invocation_id: str) -> AbstractContextManager[object]:
        if not self.stream_logs:
            return nullcontext()
        from airflow_provider_kernel.log_lines import InvocationLog
        from airflow_provider_kernel.operators.log_stream import LogStream

        log = InvocationLog(self.log, invocation_id, max_lines=self.max_log_lines)
        return LogStream(self.hook.config, invocation_id, log=log, on_end=guard.nudge)

    def _watch(self, invocation_id: str, deadline: float) -> Invocation:
        wanted = self.live_view_link or needs_browser(self.hook.config.dashboard_url)
        return self.hook.wait_for_invocation(
            invocation_id,
            poll_interval=self.poll_interval,
            deadline=deadline,
            is_new=True,
            on_browser=self._show_browser if wanted else None,
        )

    def _show_browser(self, invocation: Invocation, browser: Browser) -> None:
        self.show_dashboard(self._ti, invocation.id, app_name=self.app_name, session_id=browser.session_id)
        if self.live_view_link:
            LIVE_VIEW.write(self._ti, browser.browser_live_view_url, log=self.log)

    def _refuse_unless_running(self, context: Context) -> None:
        """Notice that the task was marked or cleared: nobody tells a worker that is about to defer."""
        from airflow_provider_kernel.lifecycle.task_instances import TaskState, fetch_task_state

        state = fetch_task_state(context["ti"])
        if state is not TaskState.RUNNING:
            raise KernelInvocationKilledError(f"The task is no longer running; Airflow says that it is {state}")

    def _defer(self, invocation_id: str, deadline: float) -> NoReturn:
        from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

        # No timeout= for Airflow: once it has passed, the trigger's on_kill is never called again.
        self.defer(
            trigger=KernelInvocationTrigger(
                invocation_id=invocation_id,
                kernel_conn_id=self.kernel_conn_id,
                poll_interval=self.poll_interval,
                deadline=deadline,
                cancel_on_kill=self.cancel_on_kill,
                stream_logs=self.stream_logs,
                max_log_lines=self.max_log_lines,
                live_view_link=self.live_view_link,
            ),
            method_name="execute_complete",
        )

    def _finish(self, invocation: Invocation, ledger: Ledger) -> Any:
        from airflow_provider_kernel.client.resources.invocations.result import unwrap_result

        self.log_end(invocation, self._where_to_look(invocation.id))
        try:
            # After a success the ledger stays open: should the worker crash now, the next try uses this result.
            return unwrap_result(invocation, max_output_bytes=self.max_output_bytes if self.do_xcom_push else None)
        except KernelError:
            self._close(ledger)
            raise

    def _tell_early_end(self, invocation_id: str, why: BaseException | str, context: Context) -> None:
        """Say how the wait ended, if not with the invocation."""
        started = context["ti"].start_date
        took = "" if started is None else f" after {time.time() - started.timestamp():.1f} s"
        what = why if isinstance(why, str) else type(why).__name__
        self.log.info(
            "The task no longer waits for invocation %s%s (%s); see %s",
            invocation_id,
            took,
            what,
            self._where_to_look(invocation_id),
        )

    def _where_to_look(self, invocation_id: str) -> str:
        if self.dashboard is not None:
            return self.dashboard
        # After a deferral this is another process, and the link was written before it.
        try:
            template = self.hook.config.dashboard_url
        except KernelError:  # it is what the task fails with
            template = DEFAULT_DASHBOARD_URL
        return dashboard_link(template, invocation_id, app_name=self.app_name)

    def _wanted(self) -> Wanted:
        """Say what to start."""
        from airflow_provider_kernel.client.http.request import Request
        from airflow_provider_kernel.client.resources.invocations import requests
        from airflow_provider_kernel.operators.starting import Wanted

        def build(payload: Any) -> Request[Invocation]:
            return requests.create_invocation(
                self.app_name,
                self.action_name,
                payload=payload,
                version=self.version,
                async_timeout_seconds=self._time_limit(),
            )

        return Wanted(
            build,
            payload=UNSET if self.payload is None else self.payload,
            correlation_key=self.correlation_key,
            owned=self.cancel_on_kill and self.wait_for_completion,
        )

    def _ledger(self, context: Context) -> Ledger:
        from airflow_provider_kernel.ledger import Ledger

        # Airflow 3.3 has the store; on older versions nothing is remembered.
        return Ledger(context.get("task_state_store") if self.durable else None, context["ti"])

    def _close(self, ledger: Ledger) -> None:
        """Have the next try start afresh; a failure to write that down must not hide why this one ended."""
        try:
            ledger.close()
        except Exception:
            self.log.exception("Airflow did not store that this try has ended")

    def _leave_to_the_next_try(self, error: BaseException, ledger: Ledger, context: Context) -> bool:
        """Say whether to keep an invocation that only contact was lost with: a next try will take it up."""
        ti = context["ti"]
        return isinstance(error, KernelLostContactError) and ledger.remembers and ti.try_number <= ti.max_tries

    def _give_up(self, invocation_id: str, why: BaseException | str) -> None:
        """Cancel after a deferral; a failure to do so must not hide why."""
        if not self.cancel_on_kill:
            return
        try:
            self.hook.cancel_invocation(invocation_id, _reason(why))
        except KernelError:
            self.log.exception("Invocation %s could not be cancelled", invocation_id)

    def _invocation_id(self, context: Context) -> str | None:
        # XComs of a task survive its deferral, though not a retry.
        ti = context["ti"]
        pulled = ti.xcom_pull(task_ids=ti.task_id, key="invocation_id", map_indexes=ti.map_index)
        return pulled if isinstance(pulled, str) else None

    def _time_limit(self) -> int | None:
        if self.async_timeout_seconds is not None or self.execution_timeout is None:
            return self.async_timeout_seconds
        seconds = int(self.execution_timeout.total_seconds()) + 60
        return max(MIN_ASYNC_TIMEOUT_SECONDS, min(seconds, MAX_ASYNC_TIMEOUT_SECONDS))

    def _deadline(self, context: Context) -> float:
        """Say when to stop waiting, in seconds since the epoch: it must hold in every process."""
        limit = self._time_limit() or DEFAULT_ASYNC_TIMEOUT_SECONDS
        deadline = time.time() + limit + _DEADLINE_GRACE_SECONDS
        started = context["ti"].start_date
        # While the task is on a worker, Airflow itself sees to the execution_timeout.
        if self.deferrable and self.execution_timeout is not None and started is not None:
            deadline = min(deadline, (started + self.execution_timeout).timestamp())
        return deadline


def _reason(why: BaseException | str) -> str:
    what = why if isinstance(why, str) else type(why).__name__
    return f"The Airflow task ended before the invocation: {what}"
