"""
The operators for invocations, to be imported from here.

Those that end what something else started stand in :mod:`airflow_provider_kernel.operators.end_invocation`, and
are loaded at their first use: most DAG files have none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_kernel._compat import TaskDeferred, conf
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.late_names import late_names
from airflow_provider_kernel.client.timestamps import utc_now
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.invocation_arguments import check_arguments
from airflow_provider_kernel.lifecycle.names import DEFAULT_CANCEL_ON_KILL, DEFAULT_WAIT_FOR_COMPLETION, xcom_key
from airflow_provider_kernel.links.kernel import DASHBOARD, LIVE_VIEW
from airflow_provider_kernel.operators._links import LinksProperty, shown_links
from airflow_provider_kernel.operators.base import KernelBaseOperator
from airflow_provider_kernel.validation import (
    DEFAULT_MAX_LOG_LINES,
    DEFAULT_MAX_OUTPUT_BYTES,
    DEFAULT_OUTPUT_AS,
    DEFAULT_POLL_INTERVAL,
    OutputAs,
)

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from airflow_provider_kernel.client.http.request import Request
    from airflow_provider_kernel.client.resources.invocations.browser_models import Browser
    from airflow_provider_kernel.client.resources.invocations.models import Invocation
    from airflow_provider_kernel.client.resources.invocations.state import InvocationState
    from airflow_provider_kernel.lifecycle.owner import Owner
    from airflow_provider_kernel.lifecycle.owning_try import OwningTry
    from airflow_provider_kernel.operators.end_invocation import (
        KernelCancelInvocationOperator as KernelCancelInvocationOperator,
        KernelCompleteInvocationOperator as KernelCompleteInvocationOperator,
        KernelUpdateInvocationOperator as KernelUpdateInvocationOperator,
    )
    from airflow_provider_kernel.owned.invocation import OwnedInvocation

__all__ = [
    "KernelCancelInvocationOperator",
    "KernelCompleteInvocationOperator",
    "KernelInvokeOperator",
    "KernelUpdateInvocationOperator",
]

if not TYPE_CHECKING:  # else a name that does not exist would pass
    _HOME = "airflow_provider_kernel.operators.end_invocation"
    __getattr__, __dir__ = late_names(globals(), dict.fromkeys(set(__all__) - {"KernelInvokeOperator"}, _HOME))

#: A deferrable task polls once before it defers, so many seconds after it began to start its invocation.
FIRST_POLL_SECONDS = 0.4


class KernelInvokeOperator(KernelBaseOperator):
    """
    Start an invocation, wait for it, and return its output.

    The task owns the invocation. If the task ends before it (killed, marked, cleared, timed out, any error), the
    invocation is cancelled and its browsers are ended, whether the task waits on a worker or is deferred. Its id is
    pushed to XCom as ``invocation_id`` as soon as it is known. Payload and output are never logged; Airflow itself
    shows the one among the task's rendered templates, and the other in XCom.

    It is started exactly once. A start whose answer gets lost is searched for among Kernel's invocations. After a
    crash of the worker, the next try reconnects to what the crashed one started, and uses its result if there is
    one. After a clear, what the cleared try started is cancelled, and the next try starts anew. (Over crashes and
    clears this needs Airflow 3.3; on older versions every retry starts anew.) A failed invocation fails the task,
    and a retry of the task starts a new one.

    ``execution_timeout`` counts from the start of the task, over deferrals too, and ends in ``AirflowTaskTimeout``
    in every mode. It is over before ``async_timeout_seconds`` unless that is given and shorter.

    :param app_name: the Kernel app (templated).
    :param action_name: the app's action (templated).
    :param payload: its input, any JSON value; text is sent as a JSON string. ``None``: no payload (templated).
    :param version: the app's version label (templated).
    :param async_timeout_seconds: when Kernel ends the invocation by itself, 10 to 3600: the last backstop, for when
        nothing of Airflow is left to cancel it. Default: the task's ``execution_timeout`` and a minute, within
        that range; without an ``execution_timeout`` Kernel's own 900.
    :param wait_for_completion: ``False`` returns the id at once, and the invocation outlives the task.
    :param deferrable: whether to wait in the triggerer, which takes no worker slot. Default: what
        ``[operators] default_deferrable`` says. One that ends at once is not deferred. A task with
        ``wait_for_completion=False`` refuses ``True``, unless that or ``default_args`` say so for all tasks.
    :param poll_interval: seconds between two polls; on a worker the first ones come sooner.
    :param stream_logs: whether to write the invocation's log lines into the task's log, as they come.
    :param max_log_lines: how many of them at most.
    :param durable: ``False`` forgets what earlier tries started: every try starts a new invocation.
    :param correlation_key: a key under which to put a mark of the task into the payload, which must be a JSON
        object: ``{"dag_id", "run_id", "task_id", "map_index", "try_number", "token"}``. It makes the search for a
        lost start exact, also for mapped tasks with equal payloads.
    :param cancel_on_kill: ``False`` leaves the invocation running when the task ends before it.
    :param max_output_bytes: the largest output to put into XCom; a larger one fails the task.
    :param output_as: ``"json_text"`` puts the output into XCom as its JSON text, which always works. ``"value"``
        fails the task without a retry if XCom would not give the output back as it is.
    :param live_view_link: whether to put a second link on the task's page, to the live view of the invocation's
        first browser. **Its address carries a token, so everyone who can see the task can watch that browser, and
        use it** while it lives. Each poll also asks for the browser until there is one, 20 times at most.
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    #: The kind of object that a task owns; the safety net finds it by this name.
    owned_kind: ClassVar[str] = "invocation"
    refuses_late = True  # once what a crashed try has started is owned, so that it is ended

    template_fields: Sequence[str] = ("app_name", "action_name", "payload", "version", "kernel_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"payload": "json"}

    @LinksProperty
    def operator_extra_links(self) -> tuple[BaseOperatorLink, ...]:
        """The links on the task's page. Airflow also asks this of a mapped task, which is only described."""
        described = getattr(self, "partial_kwargs", None) or {}
        live_view = described.get("live_view_link", getattr(self, "live_view_link", False))
        return shown_links(self, (DASHBOARD, LIVE_VIEW) if live_view else (DASHBOARD,))

    def __init__(
        self,
        *,
        app_name: str,
        action_name: str,
        payload: Any = None,
        version: str = "latest",
        async_timeout_seconds: int | None = None,
        wait_for_completion: bool = DEFAULT_WAIT_FOR_COMPLETION,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        stream_logs: bool = True,
        max_log_lines: int = DEFAULT_MAX_LOG_LINES,
        cancel_on_kill: bool = DEFAULT_CANCEL_ON_KILL,
        durable: bool = True,
        correlation_key: str | None = None,
        max_output_bytes: int = DEFAULT_MAX_OUTPUT_BYTES,
        output_as: OutputAs = DEFAULT_OUTPUT_AS,
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
        self.output_as = output_as
        self.live_view_link = live_view_link
        check_arguments(self, default_args=kwargs.get("default_args"))

    def run_with_hook(self, context: Context) -> Any:
        """
        Start the invocation and wait for it, or defer until it has ended.

        :return: the invocation's output; without ``wait_for_completion`` its id.
        :raises KernelInvocationFailedError: when it ended as ``failed``.
        :raises KernelTaskKilledError: when the task was killed meanwhile.
        :raises KernelInvocationTimeoutError: when it did not end long after its own time limit.
        """
        if not self.wait_for_completion:
            self.check_returned("the id of the invocation", context)
        owned = self._own(context)
        try:
            owned.begin()
            invocation_id = self._start(owned, context)
            invocation = self._wait(owned.owner, invocation_id, context) if self.wait_for_completion else None
            owned.owner.release()
        except TaskDeferred:
            raise
        except BaseException as error:
            self._give_up(owned, error, context)
            raise
        finally:
            owned.close()
        return invocation_id if invocation is None else self._finish(owned.close_record, invocation, context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """
        Go on after the deferral, and return or raise what :meth:`run_with_hook` does in the end.

        An event that carries the result is all that it takes: Kernel is not asked, and what has ended has no owner.

        :raises AirflowTaskTimeout: when the invocation did not end within ``execution_timeout``.
        """
        self._begin_run(is_resumed=True)
        with self.calling_kernel():
            if (carried := self._carried_by(event)) is not None:
                self._run.check_killed(f"The task was killed when its invocation {carried.id} had ended")
                return self._finish(partial(self._close_record, context), carried, context)
            from airflow_provider_kernel.lifecycle.ownership import fetch_owned_id
            from airflow_provider_kernel.operators._resumed import fetch_resumed

            owned = self._own(context, is_resumed=True)
            try:
                invocation_id = (event or {}).get("invocation_id") or fetch_owned_id(self.owned_kind, context["ti"])
                owned.resume(invocation_id)
                invocation = fetch_resumed(self.hook, event, invocation_id, ti=context["ti"], logger=self.log)
                owned.owner.release()
            except BaseException as error:
                self._give_up(owned, error, context)
                raise
            finally:
                owned.close()
            return self._finish(owned.close_record, invocation, context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the deferral, also when Airflow ended it: then no trigger is left that would cancel."""
        if next_method == "__fail__":  # the deferral timed out, or the trigger crashed
            from airflow_provider_kernel.lifecycle.next_in_line import AFTER_WORKER
            from airflow_provider_kernel.lifecycle.ownership import fetch_owned_id
            from airflow_provider_kernel.lifecycle.resource import end_failed

            self._begin_run(is_resumed=True)
            with self.calling_kernel():
                owned = self._own(context, is_resumed=True)
                invocation_id = fetch_owned_id(self.owned_kind, context["ti"])
                try:
                    owned.resume(invocation_id)
                    self._give_up(owned, "Airflow ended its deferral", context)
                except KernelError as error:  # such as that of a connection that was deleted meanwhile
                    end_failed(self.owned_kind, invocation_id, error, next_in_line=AFTER_WORKER).log(self.log)
                finally:
                    owned.close()
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the invocation. Runs in a signal handler; see :mod:`airflow_provider_kernel.lifecycle.owner`."""
        self._kill_runs()

    # --- the start ----------------------------------------------------------------------------------------------

    def _own(self, context: Context, *, is_resumed: bool = False) -> OwningTry[Invocation]:
        """Make what owns the invocation in this process."""
        from airflow_provider_kernel.lifecycle.owning_try import OwningTry

        owned = OwningTry(
            self._resource(context),
            self.hook,
            context,
            cancel_on_kill=self.cancel_on_kill,
            waits=self.wait_for_completion,
            durable=self.durable,
            is_resumed=is_resumed,
        )
        self._run.sleep = lambda seconds: owned.owner.wait(seconds)
        self._run.on_kill(owned.kill)
        return owned

    def _start(self, owned: OwningTry[Invocation], context: Context) -> str:
        """Start the invocation, or reconnect to that of a crashed try, and publish its id."""
        self.check_refused()
        ti = context["ti"]
        invocation_id = owned.start(self._log_start)
        if self._run.start_began is not None:  # a reconnect is logged already
            self.log.info("Invocation %s was accepted", invocation_id)
        ti.xcom_push(key=xcom_key(self.owned_kind), value=invocation_id)
        self.show_dashboard(ti, invocation_id, app_name=self.app_name)
        owned.owner.check()
        return invocation_id

    def _log_start(self) -> None:
        from airflow_provider_kernel.operators._limits import limits_of

        self._run.start_began = time.monotonic()
        self.log.info("Invoking %s/%s, version %s", self.app_name, self.action_name, self.version)
        level, line = limits_of(self.async_timeout_seconds, self.execution_timeout, waits=self.wait_for_completion)
        self.log.log(level, line)

    def _resource(self, context: Context) -> OwnedInvocation:
        from airflow_provider_kernel.client.resources.invocations.requests import create_invocation
        from airflow_provider_kernel.operators._limits import kernel_seconds
        from airflow_provider_kernel.owned.invocation import OwnedInvocation

        def build(payload: Any) -> Request[Invocation]:
            return create_invocation(
                self.app_name,
                self.action_name,
                payload=payload,
                version=self.version,
                async_timeout_seconds=kernel_seconds(self.async_timeout_seconds, self.execution_timeout),
            )

        return OwnedInvocation(
            build,
            payload=UNSET if self.payload is None else self.payload,
            correlation_key=self.correlation_key,
            ti=context["ti"],
        )

    # --- the wait -----------------------------------------------------------------------------------------------

    def _wait(self, owner: Owner[Invocation], invocation_id: str, context: Context) -> Invocation:
        """Wait on the worker, or defer unless the invocation is over at once."""
        from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
        from airflow_provider_kernel.operators._limits import backstop, first_limit

        poll = partial(self._poll, owner, invocation_id, ti=context["ti"])
        own_limit = backstop(self.async_timeout_seconds, self.execution_timeout)
        if self.deferrable:
            try:
                owner.wait(max(0.0, (self._run.start_began or 0.0) + FIRST_POLL_SECONDS - time.monotonic()))
                invocation = poll(time.time())
            except KernelInvocationTimeoutError as error:
                was_seen = error.was_seen
            else:
                with self._log_stream(owner, invocation_id):
                    return invocation
            from airflow_provider_kernel.lifecycle.inline import stop_on_signal
            from airflow_provider_kernel.lifecycle.task_instances import check_still_running
            from airflow_provider_kernel.owned.carried_result import carried_bytes
            from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

            self._run.defer(stop_on_signal(invocation_id))
            check_still_running(context["ti"])
            owner.release()  # to the trigger
            limit = first_limit(own_limit, context["ti"].start_date or utc_now(), self.execution_timeout)
            # No timeout= for Airflow: once it has passed, the trigger's on_kill is never called again.
            self.defer(
                trigger=KernelInvocationTrigger(
                    invocation_id=invocation_id,
                    kernel_conn_id=self.kernel_conn_id,
                    poll_interval=self.poll_interval,
                    deadline=limit.ends_at,
                    cancel_on_kill=self.cancel_on_kill,
                    stream_logs=self.stream_logs,
                    max_log_lines=self.max_log_lines,
                    was_seen=was_seen,
                    live_view_link=self.live_view_link,
                    limit=limit.name,
                    max_carried_bytes=carried_bytes(self),
                ),
                method_name="execute_complete",
            )
        with self._log_stream(owner, invocation_id):
            return poll(own_limit.ends_at)  # Airflow enforces the execution_timeout

    def _log_stream(self, owner: Owner[Invocation], invocation_id: str) -> AbstractContextManager[object]:
        if not self.stream_logs:
            return nullcontext()
        from airflow_provider_kernel.task_log.follow import LogStream
        from airflow_provider_kernel.task_log.writer import InvocationLog

        log = InvocationLog(self.log, invocation_id, max_lines=self.max_log_lines)
        return LogStream(self.hook.config, invocation_id, log=log, on_end=owner.wake)

    def _poll(self, owner: Owner[Invocation], invocation_id: str, deadline: float, *, ti: Any) -> Invocation:
        from airflow_provider_kernel.client.dashboard import needs_browser

        def show(invocation: Invocation, browser: Browser) -> None:
            self.show_dashboard(ti, invocation.id, app_name=self.app_name, session_id=browser.session_id)
            if self.live_view_link:
                LIVE_VIEW.write(ti, browser.browser_live_view_url, log=self.log)

        shows_browser = self.live_view_link or needs_browser(self.hook.config.dashboard_url)
        return self.hook.wait_for_invocation(
            invocation_id,
            poll_interval=self.poll_interval,
            deadline=deadline,
            is_new=True,
            on_browser=show if shows_browser else None,
            client=owner.client,
        )

    # --- the end ------------------------------------------------------------------------------------------------

    def _finish(self, close_record: Callable[[], None], invocation: InvocationState, context: Context) -> Any:
        try:
            # After a success the ledger stays open: should the worker crash now, the next try uses this result.
            return self.result_of(
                invocation, context, app_name=self.app_name, max_output_bytes=self.max_output_bytes
            )
        except KernelError:
            close_record()
            raise

    def _close_record(self, context: Context) -> None:
        from airflow_provider_kernel.lifecycle.ledger import Ledger

        Ledger.of_try(self.owned_kind, context, durable=self.durable).close()

    def _give_up(self, owned: OwningTry[Invocation], why: BaseException | str, context: Context) -> None:
        """End the invocation because the task ends early, or leave it to the next try."""
        if self._run.is_of_another_process:
            return  # a forked child owns nothing
        if (invocation_id := owned.give_up(why)) is not None:
            what = why if isinstance(why, str) else type(why).__name__
            self.log_early_end(invocation_id, what, context["ti"].start_date, app_name=self.app_name)
