"""The sensor for invocations."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, BaseSensorOperator, PokeReturnValue

from airflow_provider_kernel._compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    conf,
)
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.resources.invocations.errors import (
    KernelInvocationFailedError,
    KernelInvocationTimeoutError,
)
from airflow_provider_kernel.connection_form import DEFAULT_CONN_ID
from airflow_provider_kernel.invocation_arguments import check_arguments
from airflow_provider_kernel.operators._limits import EXECUTION_TIMEOUT, Limit, first_limit
from airflow_provider_kernel.operators._links import DASHBOARD_LINKS
from airflow_provider_kernel.operators.base import KernelClientMixin
from airflow_provider_kernel.validation import (
    DEFAULT_MAX_LOG_LINES,
    DEFAULT_MAX_OUTPUT_BYTES,
    DEFAULT_OUTPUT_AS,
    OutputAs,
    check_invocation_id,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.client.outage import Outage
    from airflow_provider_kernel.client.resources.invocations.models import Invocation
    from airflow_provider_kernel.client.resources.invocations.state import InvocationState

#: Replaces a ``poke_interval`` of 0 in the triggerer, whose event loop all tasks share.
_MIN_POLL_SECONDS = 1.0
#: The most pauses that a trigger is given; they double.
_MAX_DELAYS = 64
#: The longest pause between polls while a rescheduled sensor finds its key refused.
_REFUSED_PAUSE_SECONDS = 30.0


class KernelInvocationSensor(KernelClientMixin, BaseSensorOperator):
    """
    Wait for an invocation that something else started, and return its output.

    The sensor does not own the invocation and never cancels it. A failed invocation fails the sensor without a
    retry, because it stays failed; with ``soft_fail=True`` the sensor is skipped instead. All sensor modes work
    (``poke``, ``reschedule``); ``deferrable=True`` waits in the triggerer.

    :param invocation_id: id of the invocation (templated).
    :param deferrable: whether to wait in the triggerer. Default: ``[operators] default_deferrable`` in Airflow's
        configuration.
    :param stream_logs: whether to copy the invocation's log into the task's log while the sensor is deferred.
    :param max_log_lines: the most log lines to copy.
    :param max_output_bytes: the largest output to push to XCom, in bytes of JSON; a larger output fails the sensor.
    :param output_as: ``"json_text"`` pushes the output to XCom as its JSON text, which always works. ``"value"``
        fails the sensor without a retry if XCom would not give the output back as it is.
    :param kernel_conn_id: id of an Airflow connection of type ``kernel`` (templated).
    :param poke_interval: seconds between two polls, as for any sensor, and so are ``exponential_backoff`` and
        ``max_wait``. A deferrable sensor takes 0 as 1. In reschedule mode it is at least ``[kernel] min_deferral``.
    :param timeout: the most seconds to wait, as for any sensor; time spent deferred counts. It counts towards
        ``execution_timeout``, too, which ends in ``AirflowTaskTimeout`` and is retried. Except in reschedule mode,
        the earlier of the two ends the wait, and the ``execution_timeout`` if both are over at once.
    :raises KernelInputError: when an argument cannot work.
    """

    template_fields: Sequence[str] = ("invocation_id", "kernel_conn_id")
    operator_extra_links = DASHBOARD_LINKS
    ui_color = "#e3f1fb"
    ui_fgcolor = "#1a1a1a"

    def __init__(
        self,
        *,
        invocation_id: str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        stream_logs: bool = False,
        max_log_lines: int = DEFAULT_MAX_LOG_LINES,
        max_output_bytes: int = DEFAULT_MAX_OUTPUT_BYTES,
        output_as: OutputAs = DEFAULT_OUTPUT_AS,
        kernel_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.invocation_id = invocation_id
        self.deferrable = deferrable
        self.stream_logs = stream_logs
        self.max_log_lines = max_log_lines
        self.max_output_bytes = max_output_bytes
        self.output_as = output_as
        self.kernel_conn_id = kernel_conn_id
        check_arguments(self)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll the invocation once. Return whether it has ended, and its output."""
        with self.calling_kernel():
            check_invocation_id(self.invocation_id, "to wait for")
            invocation = self._fetch_deferred() if self._run.event is not None else self._fetch(context)
            if invocation is None:
                return PokeReturnValue(is_done=False)
            if not invocation.is_final:
                self.log.info("Invocation %s is %s", invocation.id, invocation.status)
                return PokeReturnValue(is_done=False)
            return PokeReturnValue(is_done=True, xcom_value=self._return_output(invocation, context))

    @property
    def _ends_soon(self) -> bool:
        return self.deferrable or self.reschedule

    def _fetch(self, context: Context) -> Invocation | None:
        """Fetch the invocation; ``None`` when that failed, and the next poke is to try again."""
        from airflow_provider_kernel.client.outage import is_refused_access
        from airflow_provider_kernel.client.retry import requested_pause

        outage = self._run.outage = self._run.outage or self._begin(context)
        reschedules = self.reschedule and outage.was_seen
        while True:
            try:
                if self.dashboard is None:
                    self.show_dashboard(context["ti"], self.invocation_id)
                invocation = self.hook.get_invocation(self.invocation_id)
            except KernelError as error:
                pause = outage.failed(error, self.poke_interval)
                if not (reschedules and is_refused_access(error)):
                    # The pause after this poke is the poke_interval, whatever the server asks for.
                    self._sleep_until_timeout((requested_pause(error, at_most=pause) or 0.0) - self.poke_interval)
                    return None
                # The next poke has another process, which cannot know for how long the key is refused.
                if not self._sleep_until_timeout(min(pause, _REFUSED_PAUSE_SECONDS)):
                    return None
            else:
                outage.succeeded()
                self.show_dashboard(context["ti"], invocation.id, app_name=invocation.app_name)
                return invocation

    def _fetch_deferred(self) -> InvocationState | None:
        """Fetch the invocation after a deferral; ``None`` when the time of the sensor is over."""
        event, self._run.event = self._run.event, None
        if (carried := self._carried_by(event)) is not None:
            return carried
        from airflow_provider_kernel.owned.invocation import fetch_after_deferral

        try:
            return fetch_after_deferral(self.hook, event, self.invocation_id, self._run.started_at)
        except KernelInvocationTimeoutError as error:
            self._run.overdue = error
            return None

    def _sleep_until_timeout(self, seconds: float) -> bool:
        """Sleep, but not beyond the sensor's ``timeout``. Return whether there is time left."""
        left = self._run.ends_at - time.monotonic()
        self.sleep(max(0.0, min(seconds, left)))
        return left > seconds

    def _begin(self, context: Context) -> Outage:
        from airflow_provider_kernel.client.outage import Outage

        # The first poke, in another process: it would have failed the task if the id were wrong.
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        began = time.time() if first is None else first.timestamp()
        self._run.ends_at = time.monotonic() + began - time.time() + self.timeout
        return Outage(
            f"invocation {self.invocation_id}",
            was_seen=first is not None,
            on_error=lambda error: self.log.warning("%s; polling again", error),
        )

    def execute(self, context: Context) -> Any:
        """
        Wait for the invocation, and return its output.

        The base class decides in every mode what an error of a poll becomes. A deferrable sensor defers where the
        base class would sleep.

        :raises AirflowFailException: when it failed, or when polling failed with an error that will not pass.
        :raises AirflowSensorTimeout: when it has not ended within ``timeout``.
        :raises AirflowTaskTimeout: when it has not ended within ``execution_timeout``.
        """
        self._begin_run()
        self._run.started_at = context["ti"].start_date
        self.log.info("Waiting for invocation %s", self.invocation_id)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Resume after the deferral, and do what :meth:`execute` does."""
        self._begin_run(is_resumed=True)
        self._run.started_at = context["ti"].start_date
        self._run.event = event or {}
        self._run.limit = self._run.event.get("limit") or ""
        return super().execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the deferral."""
        if next_method != "execute_complete":  # the trigger crashed
            return super().resume_execution(next_method, next_kwargs, context)
        # Past the base class, which would apply soft_fail and never_fail again, by another rule than in its loop.
        return BaseOperator.resume_execution(self, next_method, next_kwargs, context)

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Return for how long the base class is to sleep or reschedule; a deferrable sensor defers instead."""
        if self._run.overdue is not None:
            from airflow_provider_kernel.operators._failure import log_failure

            log_failure(self._run.overdue, self.log)
            raise self._timeout_error(str(self._run.overdue)) from None
        if self.deferrable:
            self._defer()
        seconds = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        return max(seconds, self._min_reschedule_seconds()) if self.reschedule else seconds

    def _min_reschedule_seconds(self) -> float:
        from airflow_provider_kernel.lifecycle.min_deferral import min_deferral_seconds

        return min_deferral_seconds(self.log)

    def _timeout_error(self, message: str) -> BaseException:
        """Make the error of a limit that was passed in the triggerer, as it would be between two pokes."""
        # There, the base class catches no AirflowTaskTimeout. Of its options, only soft_fail is for its timeout.
        if self._run.limit == EXECUTION_TIMEOUT:
            return AirflowTaskTimeout(message)
        return AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)

    def _defer(self) -> NoReturn:
        from airflow_provider_kernel.owned.carried_result import carried_bytes
        from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

        outage = self._run.outage
        now = datetime.now(timezone.utc)
        started = self._run.started_at or now
        limit = first_limit(Limit("timeout", started.timestamp() + self.timeout), started, self.execution_timeout)
        self.defer(
            trigger=KernelInvocationTrigger(
                invocation_id=self.invocation_id,
                kernel_conn_id=self.kernel_conn_id,
                poll_interval=self.poke_interval or _MIN_POLL_SECONDS,
                poll_delays=self._poll_delays(started, passed=(now - started).total_seconds()),
                deferred_at=now.timestamp(),
                was_deferred=self._run.is_resumed,
                deadline=limit.ends_at,
                cancel_on_kill=False,
                stream_logs=self.stream_logs,
                max_log_lines=self.max_log_lines,
                is_new=False,
                # Before a former deferral, the first poll would have failed the task if the id were wrong.
                was_seen=self._run.is_resumed or (outage is not None and outage.was_seen),
                limit=limit.name,
                max_carried_bytes=carried_bytes(self),
            ),
            method_name="execute_complete",
        )

    def _poll_delays(self, started: datetime, *, passed: float) -> list[float]:
        """List the pauses between the polls of the trigger, by the base class's rule, up to the timeout."""
        delays: list[float] = []
        at = 0.0
        for number in range(1, _MAX_DELAYS):
            delay = super()._get_next_poke_interval(started, partial(float, at), number)
            at += delay
            if at > passed:
                delays.append(delay or _MIN_POLL_SECONDS)
            is_longest = self.max_wait is not None and delay == self.max_wait.total_seconds()
            if not self.exponential_backoff or is_longest or at >= self.timeout:
                break
        return delays or [delay or _MIN_POLL_SECONDS]

    def _return_output(self, invocation: InvocationState, context: Context) -> Any:
        try:
            return self.result_of(
                invocation, context, app_name=invocation.app_name, max_output_bytes=self.max_output_bytes
            )
        except KernelInvocationFailedError as error:
            # A failed invocation stays failed, so no retry; soft_fail turns this exception into a skip.
            from airflow_provider_kernel.operators._failure import fail, log_failure

            log_failure(error, self.log)
            raise fail(error) from None
