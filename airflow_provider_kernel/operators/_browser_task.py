"""The browser of one task process: it is created, owned, and ended on every path out of the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel._compat import GOES_ON, AirflowTaskTimeout
from airflow_provider_kernel.client.errors import KernelTaskKilledError
from airflow_provider_kernel.client.resources.browsers.models import BrowserSession
from airflow_provider_kernel.client.resources.browsers.options import DEFAULT_START_TIMEOUT
from airflow_provider_kernel.client.safe_logger import side_information
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.timestamps import utc_now
from airflow_provider_kernel.lifecycle.names import xcom_key
from airflow_provider_kernel.lifecycle.owner import Owner
from airflow_provider_kernel.lifecycle.owning_try import OwningTry
from airflow_provider_kernel.owned.browser import LAG_SECONDS, OwnedBrowser
from airflow_provider_kernel.owned.browser_mark import BrowserMark

if TYPE_CHECKING:
    from airflow.sdk import Context

#: What is called in a killed task once its browser is ended; in a signal handler.
OnKilled = Callable[[], object]


def own_browser(
    operator: Any,
    context: Context,
    body: Mapping[str, Any],
    *,
    start_timeout: float = DEFAULT_START_TIMEOUT,
    on_killed: Sequence[OnKilled] = (),
) -> BrowserTask:
    """
    Make the browser of a task: a ``with`` statement starts it, and ends it on every way out.

    :param operator: of this package, between ``_begin_run()`` and the end of ``calling_kernel()``. Its ``on_kill``
        calls ``_kill_runs()``.
    :param body: of :func:`~airflow_provider_kernel.client.resources.browsers.options.browser_body`, without a name.
    :param start_timeout: for how long to wait while Kernel has no place for it, in seconds.
    :param on_killed: as :meth:`BrowserTask.on_killed` takes them.
    """
    return BrowserTask(operator, context, body, start_timeout=start_timeout, on_killed=on_killed)


class BrowserTask:
    """
    Owns the browser of one task process, for the block of a ``with`` statement.

    A kill ends the browser, then calls what :meth:`on_killed` was given, both in the signal handler; the block is
    left with a ``KernelTaskKilledError``, whatever its code has raised. A block that had come to its end before the
    kill has succeeded, and so it has if the end of the browser fails: that is logged, with who is next in line.
    """

    #: The browser, as Kernel described it when it was started. Its addresses are secrets.
    session: BrowserSession

    def __init__(
        self,
        operator: Any,
        context: Context,
        body: Mapping[str, Any],
        *,
        start_timeout: float,
        on_killed: Sequence[OnKilled],
    ) -> None:
        self._context = context
        self._body = body
        self._log = operator.log
        self._run = operator._run
        self._hook = operator.hook
        self._resource = OwnedBrowser(
            body,
            BrowserMark.of(context["ti"], self._hook.owner, is_owner_named=self._hook.is_owner_named),
            start_timeout=start_timeout,
            former_patience=_former_patience(context),
        )
        self._try: OwningTry[BrowserSession] = OwningTry(
            self._resource, self._hook, context, cancel_on_kill=True, durable=True
        )
        self._on_killed = list(on_killed)
        self._failed_on_kill: list[Exception] = []
        self._is_started = False

    @property
    def owner(self) -> Owner[BrowserSession]:
        """Owns the browser: ``check()`` and ``wait()`` raise in a killed task."""
        return self._try.owner

    @property
    def session_id(self) -> str:
        return self.session.session_id

    @property
    def was_killed(self) -> bool:
        return self._try.killed

    def on_killed(self, call: OnKilled) -> None:
        """
        Call something after a kill, once the browser is ended or cannot be ended in time; at once after a kill.

        :param call: runs once, in a signal handler on the main thread: it must take no lock and not log.
        """
        self._on_killed.append(call)
        if self.was_killed:
            self._call_on_killed()

    def __enter__(self) -> BrowserTask:
        self._run.sleep = lambda seconds: self._try.owner.wait(seconds)
        self._run.on_kill(self._kill)
        try:
            self._try.begin()
            session_id = self._try.start(lambda: self._log.info("Starting a browser"))
            self.session = self._resource.session or self._hook.browsers.retrieve(session_id)
            idle_limit = self.session.timeout_seconds
            limit = "" if idle_limit is None else f"; Kernel ends it after {idle_limit} s without a client"
            self._log.info("Browser %s was started%s", session_id, limit)
            self._context["ti"].xcom_push(key=xcom_key(self._resource.kind), value=session_id)
            self._try.owner.check()
        except BaseException as error:
            self._end_early(error)
            raise
        self._is_started = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._run.is_of_another_process:
            return  # a forked child owns nothing
        killed = KernelTaskKilledError(f"The task was killed while it used browser {self.session_id}")
        if error is not None:
            self._end_early(killed if self.was_killed else error)
            if self.was_killed and not isinstance(error, KernelTaskKilledError):
                raise killed from error
        elif self.was_killed:
            self._end_early(killed)
            raise killed
        else:
            self._finish()

    def _finish(self) -> None:
        try:
            self._try.finish()
        except AirflowTaskTimeout:  # the execution_timeout interrupts any line, but only once
            self._log.warning("The execution_timeout came when the task had done its work, and ends nothing")
            self._try.finish()
        finally:
            self._close()

    def _end_early(self, error: BaseException) -> None:
        if self._run.is_of_another_process:
            return
        try:
            # An error of the start may leave the browser to the next try. What the block raises is about something
            # else, such as an invocation that it waits for, and leaves nothing.
            self._try.give_up(type(error).__name__ if self._is_started else error)
            self._warn_of_profile(error)
        finally:
            self._close()

    def _warn_of_profile(self, error: BaseException) -> None:
        profile = self._body.get("profile") or {}
        if profile.get("save_changes") and hasattr(self, "session") and not isinstance(error, GOES_ON):
            self._log.warning(
                "Kernel has saved the profile %s all the same: it saves with every end of a browser. What the task "
                "has changed before it failed is in the profile",
                short_repr(profile.get("name") or profile.get("id")),
            )

    def _close(self) -> None:
        self._try.close()
        for error in self._failed_on_kill:
            with side_information("What was to be closed after the kill was not", self._log):
                raise error

    def _kill(self) -> None:
        """End the browser, then what the task has open. In a signal handler."""
        self._try.kill()
        self._call_on_killed()

    def _call_on_killed(self) -> None:
        calls, self._on_killed = self._on_killed, []
        for call in calls:
            try:
                call()
            except Exception as error:  # noqa: BLE001 (logged later: a log call may be what the signal interrupted)
                self._failed_on_kill.append(error)


def _former_patience(context: Context) -> float:
    """
    Return for how long a former try's browser may be missing from Kernel's list, in seconds.

    Airflow's task state store names what a former try has started; without it, only the list does.
    """
    ti: Any = context["ti"]
    if ti.try_number <= 1 or context.get("task_state_store") is not None or ti.start_date is None:
        return 0.0
    since_start: float = (utc_now() - ti.start_date).total_seconds()
    return max(0.0, LAG_SECONDS - since_start)
