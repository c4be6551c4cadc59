"""What a scenario of the kill matrix with a browser is told with."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_kernel.testing.resources.browsers import BrowserRecord, Browsers
from system.scenario import OVER, Run
from system.under_test.browser_variants import browser_dag_id


@dataclass
class BrowserRun(Run):
    """A run of a DAG whose task has a browser; ``mode`` is the code of its function."""

    @property
    def dag_id(self) -> str:
        return browser_dag_id(self.variant, self.mode)

    @property
    def width(self) -> int:
        return 1

    @property
    def browsers(self) -> list[BrowserRecord]:
        """The browsers of this run, in the order of their start."""
        return [record for record in self.matrix.kernel.browsers if record.tags.get("airflow_run") == self.run_id]

    @property
    def invocations(self) -> list[BrowserRecord]:  # type: ignore[override]
        """What was started: here, the browsers."""
        return self.browsers

    @property
    def active(self) -> list[BrowserRecord]:  # type: ignore[override]
        return [record for record in self.browsers if record.is_active]

    # --- arrange

    def until_waiting(self, timeout: float = 90) -> BrowserRun:
        """Wait until the function is where it stays."""
        self.until_noted("working", timeout=timeout)
        self.until_state("running", over=False)
        return self

    def fail_at_the_gate(self) -> None:
        """Let the function raise when the gate is opened."""
        self.matrix.open_gate(f"{self.run_id}.fails")

    # --- act

    def act(self, at: float | None = None, items: object = None) -> None:
        self.acted_at = at or time.time()
        self._victims = tuple(record.session_id for record in self.active)

    # --- expect

    def expect_cancelled(self, within: float = 30) -> None:
        """Expect that the browsers that there were are deleted."""
        ended = lambda: not {each.session_id for each in self.active} & set(self._victims)  # noqa: E731
        self.matrix.kernel.wait_until(ended, within)
        self.cancelled_at = time.time()
        for record in self.browsers:
            assert record.session_id not in self._victims or record.end_cause == "deleted", record

    def expect_unwound(self, within: float = 1.0) -> float:
        """Expect that the function has stopped soon after ``on_kill`` was called, and return after how long."""
        unwound = self.until_noted("unwound")
        seconds = unwound["at"] - self.until_noted("operator.on_kill")["at"]
        assert seconds < within, f"the function went on for {seconds:.2f} s after on_kill"
        return float(seconds)

    def expect_going_on(self, started: int | None = None) -> None:
        assert [record.session_id for record in self.active] == list(self._victims), self._texts()
        assert len(self.browsers) == (started or 1), self._texts()

    def expect_new_one(self, started: int = 2) -> None:
        """Expect another browser, in which the function returns."""
        self.until_noted("working", started, timeout=120)
        self.open_gate()
        self.expect_success()

    def expect_success(self) -> None:
        """Expect that the task succeeds and leaves no browser."""
        self.open_gate()
        self.until_state("success", timeout=120)
        assert "title" in self.matrix.stack.api.xcom(self.dag_id, self.run_id, "invoke")
        assert not self.active, self._texts()

    def expect_started(self, count: int) -> None:
        assert len(self.browsers) == count, self._texts()
        self.check_one_at_a_time()

    def check_one_at_a_time(self) -> None:
        """Expect that the task never had two active browsers."""
        for earlier, later in zip(self.browsers, self.browsers[1:], strict=False):
            assert earlier.closed is not None, f"two at once: {self._texts()}"
            assert earlier.closed < later.opened, f"two at once: {self._texts()}"

    def end(self, states: Iterable[str] | None = None) -> None:
        assert not self.active, f"left: {self._texts()}"
        super().end(states)

    def sweep(self) -> None:
        self.open_gate()
        for record in self.active:
            self.matrix.kernel.room(Browsers).end(record.session_id)
        api = self.matrix.stack.api
        if self.run_id and any(state not in OVER for state in self.states()):
            api.mark_run(self.dag_id, self.run_id, "failed")

    def _counts(self) -> tuple[int, int]:
        return len(self.browsers), sum(not record.is_active for record in self.browsers)
