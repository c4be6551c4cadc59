"""The processes of Airflow, each on threads of its own, that can die or be suspended at any point."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time import supervisor, task_runner

if TYPE_CHECKING:
    import pytest

#: How long a process may take, in real seconds. None comes near.
PATIENCE = 30.0
#: How long after its SIGTERM a process is killed, on the clock of the histories.
SIGKILL_SECONDS = 5.0


class Crash(BaseException):
    """The process is gone: nothing behind this point has an effect."""


class Process:
    """
    One process: of a try, of a trigger, of the DAG processor.

    :param at: called by its main thread at each named point.
    """

    def __init__(self, at: Callable[[str | None], None] = lambda point: None) -> None:
        self.at = at
        self.operator: Any = None
        self.comms: Any = None
        #: The task instance that it runs; Airflow may have given the task another id since.
        self.ti_id: Any = None
        self.try_number = 0
        #: By how much its clock is ahead, once it is dead.
        self.lag = 0.0
        self.is_suspended = False
        self.result: Any = None
        self.error: BaseException | None = None
        #: Whether it has read what an earlier try has stored.
        self.has_read_ledger = False
        #: Whether it has written an ownership record, or knows of a record in the ledger; and whether Airflow says
        #: so once it is old.
        self.has_records = False
        self.can_know_that_it_is_old = True
        self._is_dead = False
        self._killed_at: float | None = None
        self._halts: SimpleQueue[str] = SimpleQueue()
        self._continued = threading.Event()
        self._suspended_thread: threading.Thread | None = None
        self._main: threading.Thread | None = None
        self._next: Callable[[], None] = lambda: None

    # --- from outside

    def run(self, function: Callable[[], Any]) -> None:
        """Run it until it has ended or is suspended."""

        def main() -> None:
            try:
                self.result = function()
            except BaseException as error:  # noqa: BLE001 (the process ends with it)
                self.error = error
            self._halts.put("ended")

        self._main = self._thread(main)
        self._main.start()
        self._halts.get(timeout=PATIENCE)

    def go_on(self, then: Callable[[], None]) -> None:
        """Let a suspended process go on to its end; the first thing is a signal, which ``then`` handles."""
        self.is_suspended = False
        self._next = then
        if self.is_main_thread_blocked():
            # The main thread waits for this one. The handler runs on top of that, so to speak.
            self._next = lambda: None
            self._thread(then).start()
        self._continued.set()
        self._halts.get(timeout=PATIENCE)

    def bury(self) -> None:
        """Let a suspended process end without any effect."""
        self._is_dead = True
        self._continued.set()
        self._halts.get(timeout=PATIENCE)

    def is_main_thread_blocked(self) -> bool:
        """Return whether another thread was suspended, for whose answer the main thread waits."""
        return self._suspended_thread is not self._main

    def is_dead(self) -> bool:
        from support.histories.clock import CLOCK

        if self._killed_at is not None and CLOCK.shared() > self._killed_at:
            self._is_dead = True
        return self._is_dead

    def sigterm(self) -> None:
        """Send the signal, on the main thread. Airflow sends a SIGKILL five seconds later."""
        from support.histories.clock import CLOCK

        if self._killed_at is None:
            self._killed_at = CLOCK.shared() + SIGKILL_SECONDS
        if self.operator is not None:
            self.operator.on_kill()

    # --- from within

    def crash(self) -> None:
        self._is_dead = True
        self.check()

    def check(self) -> None:
        """End this thread if the process is dead: the main thread at once, another one by its next request."""
        if self.is_dead() and threading.current_thread() is self._main:
            raise Crash

    def suspend(self) -> None:
        """Stop this thread, and with it the process, until it is to go on."""
        self.is_suspended = True
        self._suspended_thread = threading.current_thread()
        self._halts.put("suspended")
        self._continued.wait()
        self.check()
        self._next()

    def _thread(self, function: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=function, daemon=True)
        thread.history_process = self  # type: ignore[attr-defined]
        return thread


OUTSIDE = Process()


def current() -> Process:
    """Return the process whose code is running."""
    found: Process = getattr(threading.current_thread(), "history_process", OUTSIDE)
    return found


class Comms:
    """What a process talks to Airflow through, for whichever process calls it."""

    def send(self, msg: Any) -> Any:
        return current().comms.send(msg)

    async def asend(self, msg: Any) -> Any:
        return self.send(msg)


@contextmanager
def _set_comms_of_process(comms: Any) -> Iterator[None]:
    if comms is not None:
        current().comms = comms
    yield


def install(patch: pytest.MonkeyPatch) -> None:
    """Let several processes run side by side in this one."""
    start, set_signal = threading.Thread.start, signal.signal

    def start_in_same_process(thread: threading.Thread) -> None:
        if not hasattr(thread, "history_process"):
            thread.history_process = current()  # type: ignore[attr-defined]
        start(thread)

    def set_signal_on_main_thread(number: Any, handler: Any) -> Any:
        return set_signal(number, handler) if threading.current_thread() is threading.main_thread() else None

    patch.setattr(threading.Thread, "start", start_in_same_process)
    patch.setattr(signal, "signal", set_signal_on_main_thread)
    patch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)
    patch.setattr(supervisor, "set_supervisor_comms", _set_comms_of_process)
    # Airflow has one stack of contexts for the one task of a process.
    patch.setattr(task_runner, "set_current_context", nullcontext)
