"""A thread that handles events in order, and says when what they have set going is settled."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_kernel.lifecycle.signal_safe import SignalSafeEvent, Work, WorkerThread


class EventThread:
    """
    Handle events one after another. Every method may be called in a signal handler.

    :param is_settled: asked after each event, whether nothing that may be waited for is under way.
    :param may_close: asked after each event once it is to close, whether it may.
    :param on_close: called on the thread as its last work.
    """

    def __init__(
        self,
        name: str,
        *,
        is_settled: Callable[[], bool],
        may_close: Callable[[], bool],
        on_close: Callable[[], None],
    ) -> None:
        self._thread = WorkerThread(name)
        self._is_settled = is_settled
        self._may_close = may_close
        self._on_close = on_close
        self._waiting: list[SignalSafeEvent] = []
        self._is_closing = False

    def post(self, handle: Callable[[], object], settled: SignalSafeEvent | None = None) -> Work[None]:
        """
        Handle an event after those that came before. Once closed, handle none.

        :param settled: is set as soon as the event is handled and all is settled.
        """

        def work() -> None:
            handle()
            if settled is not None:
                self._waiting.append(settled)
            if self._is_settled():
                while self._waiting:
                    self._waiting.pop().set()
            if self._is_closing and self._may_close():
                self._on_close()
                self._thread.close()

        try:
            return self._thread.submit(work)
        except RuntimeError:  # closed, and so nothing is under way; or in a forked child, which owns nothing
            nothing: Work[None] = Work(lambda: None)
            nothing.run()
            if settled is not None:
                settled.set()
            return nothing

    def close(self) -> None:
        """End the thread once it may. Waits for nothing."""

        def close() -> None:
            self._is_closing = True

        self.post(close)
