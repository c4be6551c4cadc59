"""The thread that lets time pass for sessions: it wakes up when one is to end."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_kernel.testing.signals import Signal


class Reaper:
    """
    A thread that lives while there is something to end.

    :param signal: notified of each change.
    :param settle: ends what is to end now; called with the signal held.
    :param next_due: returns `time.monotonic()` of the next end, infinity if none is known, and None if there is
        nothing to end.
    :param is_due: returns whether something is to end for another reason than time.
    """

    def __init__(
        self,
        signal: Signal,
        settle: Callable[[], object],
        next_due: Callable[[], float | None],
        is_due: Callable[[], bool],
    ) -> None:
        self._signal = signal
        self._settle = settle
        self._next_due = next_due
        self._is_due = is_due
        self._thread: threading.Thread | None = None
        self._is_stopping = False

    def ensure(self) -> None:
        """Start the thread if there is none."""
        with self._signal:
            if self._thread is None and not self._is_stopping:
                self._thread = threading.Thread(target=self._run, name="kernel-emulator-reaper", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop the thread; `ensure()` starts another one."""
        with self._signal:
            self._is_stopping = True
            thread = self._thread
            self._signal.notify()
        if thread is not None:
            thread.join()
        self._is_stopping = False

    def _run(self) -> None:
        while True:
            with self._signal:
                self._settle()
                due = self._next_due()
                if self._is_stopping or due is None:
                    self._thread = None
                    return

            def has_changed(due: float = due) -> bool:
                return self._is_stopping or self._next_due() != due or self._is_due()

            seconds = min(max(0.0, due - time.monotonic()), threading.TIMEOUT_MAX)
            self._signal.wait_until(has_changed, seconds)
