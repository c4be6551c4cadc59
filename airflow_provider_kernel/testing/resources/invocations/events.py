"""The events of one run, for its stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_kernel.testing.resources.invocations.run import StreamEvent

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.backend import Backend
    from airflow_provider_kernel.testing.resources.invocations.run import Run
    from airflow_provider_kernel.testing.resources.invocations.store import RunStore


class RunFeed:
    """
    The state of a run, its log lines, and its end.

    :param since: nanoseconds from which old log lines are replayed; None without the parameter.
    """

    def __init__(self, backend: Backend, store: RunStore, run: Run, since: int | None) -> None:
        self._backend = backend
        self._store = store
        self._run = run
        self._since = since
        self._position = 0

    def backlog(self) -> list[StreamEvent]:
        """Return the current state and old log lines; a final state comes last."""
        replay_all = self._since is None and self._backend.switches.logs_without_since == "all"
        with self._backend.signal:
            self._position = len(self._run.events)
            lines = [
                event
                for event in self._run.events
                if event.message is not None
                and (replay_all or (self._since is not None and self._store.is_since(event.at, self._since)))
            ]
            state = StreamEvent(self._backend.clock.now(), invocation=self._run.json())
            return [*lines, state] if self._run.finished else [state, *lines]

    def new(self) -> list[StreamEvent]:
        """Return the events since the last call."""
        with self._backend.signal:
            events = self._run.events[self._position :]
            self._position += len(events)
            return events
