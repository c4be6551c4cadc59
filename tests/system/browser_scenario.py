"""What a scenario of the kill matrix with a browser is told with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from typing_extensions import Self

from airflow_provider_kernel.testing.resources.browsers import BrowserRecord, Browsers
from airflow_provider_kernel.testing.resources.browsers.record import most_browsers_at_once
from airflow_stack.rest import timestamp
from system.task_run import TASK_ID, TaskRun
from system.under_test.browser_variants import PAGE, TITLE, browser_dag_id
from system.under_test.notices import ACTED, FAILS


@dataclass
class BrowserRun(TaskRun):
    """A run of a DAG whose task has a browser; ``mode`` is the code of its function."""

    kind = "browser"

    @property
    def dag_id(self) -> str:
        return browser_dag_id(self.variant, self.mode)

    @property
    def browsers(self) -> list[BrowserRecord]:
        """The browsers of this run, in the order of their start."""
        return [record for record in self.matrix.kernel.browsers if record.tags.get("airflow_run") == self.run_id]

    @property
    def active(self) -> list[BrowserRecord]:
        """Those that have not ended."""
        return [record for record in self.browsers if record.is_active]

    @property
    def victims(self) -> list[BrowserRecord]:
        """Those that were active when what ends the task happened."""
        return [record for record in self.browsers if record.session_id in self._victims]

    # --- arrange

    def until_waiting(self, timeout: float = 90) -> Self:
        """
        Wait until the function is where it stays, in the page connected to a Chromium if it has one.

        :param timeout: seconds.
        """
        self.until_noted("working", timeout=timeout)
        self.until_state("running", over=False)
        (browser,) = self.active
        assert bool(browser.chromium_pid) == (self.mode == PAGE), browser
        return self

    def fail_at_the_gate(self) -> None:
        """Let the function raise when the gate is opened."""
        self.matrix.open_gate(f"{self.run_id}{FAILS}")

    # --- act

    def act(self, at: float | None = None) -> None:
        # Whatever begins from now on is no more in its page for ever.
        self.matrix.open_gate(f"{self.run_id}{ACTED}")
        super().act(at)

    # --- expect

    def expect_deleted(self, within: float = 60) -> None:
        """
        Expect that the browsers that there were are deleted.

        :param within: seconds.
        """
        self.matrix.kernel.wait_until(lambda: not any(v.is_active for v in self.victims), within)
        assert {record.end_cause for record in self.victims} == {"deleted"}, self._texts()
        self.cancelled_at = max(timestamp(str(record.ended_at)) for record in self.victims)

    def expect_stopped(self, within: float = 1.0, *, error: str, with_browser: bool = True) -> float:
        """
        Expect that function and browser have ended soon after Airflow called ``on_kill``.

        :param within: seconds.
        :param error: what the function saw.
        :param with_browser: whether the browser must have, too.
        :return: after how many seconds both had.
        """
        stopped = self.until_noted("stopped")
        assert stopped["error"] == error, stopped
        self.stopped_at = float(stopped["at"])
        killed_at = self.until_noted("operator.on_kill")["at"]
        ended_at = [self.stopped_at, *([self.cancelled_at or 0.0] if with_browser else [])]
        seconds = max(ended_at) - killed_at
        assert seconds < within, f"function or browser went on for {seconds:.2f} s after on_kill"
        return float(seconds)

    def expect_going_on(self) -> None:
        """Expect that what was active is, and that nothing else was started."""
        assert self.active_ids() == list(self._victims), self._texts()
        assert len(self.browsers) == len(self._victims), self._texts()

    def expect_new_one(self, started: int = 2) -> None:
        """
        Expect another browser, with which the function returns.

        :param started: how many were started by then.
        """
        self.until_noted("working", started, timeout=120)
        self.expect_success()

    def expect_success(self) -> None:
        """Expect that the function returns, that its last use of the browser was good, and that none is left."""
        self.open_gate()
        self.until_state("success", timeout=120)
        used = self.browsers[-1]
        result = self.matrix.stack.api.xcom(self.dag_id, self.run_id, TASK_ID)
        assert result == {"title": TITLE, "session": used.session_id}
        assert not self.active, self._texts()

    def expect_started(self, count: int) -> None:
        """
        Expect how many browsers there were in all, and never two at once.

        :param count: how many.
        """
        assert len(self.browsers) == count, self._texts()
        self.check_one_at_a_time()

    def check_one_at_a_time(self) -> None:
        assert most_browsers_at_once(self.browsers) <= 1, f"two at once: {self._texts()}"

    def end(self, states: Iterable[str] | None = None) -> None:
        """Expect that nothing is left, and write the line of the table."""
        assert not self.active, f"left: {self._texts()}"
        self.matrix.kernel.wait_until(lambda: not any(record.chromium_pid for record in self.browsers), 20)
        super().end(states)

    # ---

    def active_ids(self) -> list[str]:
        return [record.session_id for record in self.active]

    def end_all(self) -> None:
        self.open_gate()
        for session_id in self.active_ids():
            self.matrix.kernel.room(Browsers).end(session_id)

    def _counts(self) -> tuple[int, int]:
        return len(self.browsers), sum(
            len(self.matrix.kernel.requests("DELETE", f"/browsers/{record.session_id}")) for record in self.browsers
        )

    def _texts(self) -> str:
        return "\n".join(str(record) for record in self.browsers) or "(no browser)"
