"""All runs, without HTTP."""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.testing.backend import new_id
from airflow_provider_kernel.testing.clock import format_time
from airflow_provider_kernel.testing.errors import ApiError
from airflow_provider_kernel.testing.resources.invocations.run import Run, StreamEvent

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.backend import Backend
    from airflow_provider_kernel.testing.resources.apps import AppVersion

LOG_LINE_BYTES = 64 * 1024


class RunStore:
    """
    All runs, and all changes of a run.

    :param backend: the clock, the switches, and the signal that guards the runs.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._clock = backend.clock
        self.signal = backend.signal
        self._order = itertools.count(1)
        self._runs: dict[str, Run] = {}

    def create(
        self,
        project_id: str,
        app: AppVersion,
        action_name: str,
        payload: str | None,
        async_timeout_seconds: int,
    ) -> Run:
        """
        Add a queued run.

        :param payload: a string of JSON.
        :param async_timeout_seconds: max run time in emulated seconds.
        :raises ApiError: 429 over a concurrency limit, 529 if the switches say that capacity is exhausted.
        """
        resolved = self._backend.switches.version_in_response == "resolved"
        with self.signal:
            self._check_capacity(app.app_name)
            run = Run(
                id=new_id(),
                project_id=project_id,
                app=app,
                action_name=action_name,
                version=app.resolved_version if resolved else app.version,
                payload=payload,
                async_timeout_seconds=async_timeout_seconds,
                started=self._clock.now(),
                opened=next(self._order),
            )
            self._runs[run.id] = run
            self._add_state_event(run, run.started)
        return run

    def _check_capacity(self, app_name: str) -> None:
        switches = self._backend.switches
        if switches.capacity_exhausted:
            raise ApiError(529, switches.capacity_code, "The platform is out of capacity; try again later")
        active = [run.app.app_name for run in self._runs.values() if not run.finished]
        for limit, count, scope in (
            (switches.max_concurrent, len(active), "the organization"),
            (switches.max_concurrent_per_app, active.count(app_name), f"app {app_name!r}"),
        ):
            if limit is not None and count >= limit:
                seconds = switches.retry_after
                headers = {} if seconds is None else {"Retry-After": str(seconds)}
                message = f"{count} invocations are running in {scope}; the limit is {limit}"
                raise ApiError(429, switches.concurrency_code, message, headers=headers)

    def find(self, project_id: str, invocation_id: str) -> Run:
        """
        Return a run of a project.

        :raises ApiError: 404 if the project has no such run.
        """
        with self.signal:
            run = self._runs.get(invocation_id)
        if run is None or run.project_id != project_id:
            raise ApiError(404, self._backend.switches.not_found_code, f"Invocation {invocation_id!r} not found")
        return run

    def runs(self) -> list[Run]:
        """Return every run, oldest first."""
        with self.signal:
            return list(self._runs.values())

    def get(self, invocation_id: str) -> Run:
        """
        Return a run of any project.

        :raises KeyError: with the known IDs, if there is no such run.
        """
        with self.signal:
            if invocation_id not in self._runs:
                known = ", ".join(self._runs) or "none"
                raise KeyError(f"no invocation {invocation_id!r}; there are: {known}")
            return self._runs[invocation_id]

    def is_since(self, moment: int, threshold: int | None) -> bool:
        """Return whether a moment passes the filter `since`; None passes everything."""
        if threshold is None:
            return True
        return moment >= threshold if self._backend.switches.since_inclusive else moment > threshold

    def begin(self, run: Run) -> bool:
        """
        Change a run from queued to running.

        :return: False if it has ended in the meantime.
        """
        with self.signal:
            if run.finished:
                return False
            self._set_status(run, "running", self._clock.now())
            return True

    def finish(
        self,
        run: Run,
        status: str,
        *,
        output: str | None = None,
        reason: str | None = None,
        end_browsers: bool,
        stop_code: bool = True,
    ) -> bool:
        """
        End a run; the first call decides its result.

        :param status: succeeded or failed.
        :param reason: the `status_reason`, ignored for succeeded.
        :param end_browsers: whether to delete its browsers.
        :param stop_code: whether to stop its code.
        :return: False if it had ended before; nothing changes then.
        """
        with self.signal:
            if run.finished:
                return False
            run.output = output
            run.status_reason = reason if status == "failed" else None
            run.finished_at = self._clock.now()
            run.closed = next(self._order)
            if end_browsers:
                run.browsers.clear()
            self._set_status(run, status, run.finished_at)
            run.ended.set()
        if stop_code:
            run.stop.set()
        return True

    def patch(self, run: Run, status: str, output: str | None) -> None:
        """
        End a run as `PATCH /invocations/{id}` does.

        :param status: succeeded or failed.
        :param output: the output, if the request has one.
        :raises ApiError: if the run has ended, and the switches say that PATCH refuses that.
        """
        switches = self._backend.switches
        failed = status == "failed"
        ended = self.finish(
            run,
            status,
            output=output,
            reason=switches.reason_patched,
            end_browsers=(
                switches.patch_failed_ends_browsers if failed else switches.patch_succeeded_ends_browsers
            ),
            stop_code=switches.patch_stops_code,
        )
        if ended or switches.patch_on_finished == "unchanged":
            return
        if switches.patch_on_finished == "overwrite":
            self._replace_result(run, status, output)
            return
        refusal = int(switches.patch_on_finished)
        codes = {400: "bad_request", 404: switches.not_found_code, 409: switches.conflict_code}
        raise ApiError(refusal, codes[refusal], f"Invocation {run.id!r} has ended: {run.status}")

    def _replace_result(self, run: Run, status: str, output: str | None) -> None:
        with self.signal:
            run.status_reason = None if status == "succeeded" else self._backend.switches.reason_patched
            run.output = run.output if output is None else output
            run.status = status
            run.statuses.append(status)
            self.signal.notify()

    def log(self, run: Run, message: str) -> None:
        """Add a log line, cut at Kernel's limit."""
        cut = message.encode(errors="replace")[:LOG_LINE_BYTES].decode(errors="ignore")
        with self.signal:
            run.events.append(StreamEvent(self._clock.now(), message=cut))
            self.signal.notify()

    def open_browser(self, run: Run, *, headless: bool) -> dict[str, Any]:
        """
        Open a browser of a run.

        :return: the `Browser`.
        """
        session = new_id()
        token = f"emulator-token-{secrets.token_hex(8)}"
        browser: dict[str, Any] = {
            "session_id": session,
            "created_at": format_time(self._clock.now()),
            "headless": headless,
            "stealth": False,
            "timeout_seconds": 60,
            "region": "us-east",  # not an app's kind of region
            "memory": "8GiB",
            "cdp_ws_url": f"wss://{session}.browsers.invalid/cdp?jwt={token}",
            "webdriver_ws_url": f"wss://{session}.browsers.invalid/webdriver?jwt={token}",
        }
        if not headless:
            browser["browser_live_view_url"] = f"https://{session}.browsers.invalid/live?jwt={token}"
        with self.signal:
            run.browsers.append(browser)
            run.browsers_opened += 1
            self.signal.notify()
        return dict(browser)

    def end_browsers(self, run: Run) -> None:
        """Delete a run's browsers; its status stays."""
        with self.signal:
            run.browsers.clear()
            self.signal.notify()

    def stop_all(self) -> None:
        """Stop all code, detached code too."""
        for run in self.runs():
            run.ended.set()
            run.stop.set()

    def clear(self) -> None:
        """Stop and forget every run."""
        self.stop_all()
        with self.signal:
            self._runs.clear()
            self.signal.notify()

    def _set_status(self, run: Run, status: str, at: int) -> None:
        run.status = status
        run.statuses.append(status)
        self._add_state_event(run, at)

    def _add_state_event(self, run: Run, at: int) -> None:
        run.events.append(StreamEvent(at, invocation=run.json()))
        self.signal.notify()
