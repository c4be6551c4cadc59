"""Write an invocation's log lines into a task's log: bounded, and in their own group. The logger escapes them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from airflow_provider_kernel.client.resources.invocations.event_models import LogLine, StreamError
from airflow_provider_kernel.client.safe_logger import SafeLogger
from airflow_provider_kernel.validation import DEFAULT_MAX_LOG_LINES

#: After the end, keep reading until no line arrives for ``DRAIN_SECONDS``, at most ``LONGEST_DRAIN_SECONDS``.
DRAIN_SECONDS = 5.0
LONGEST_DRAIN_SECONDS = 60.0

#: What is logged when the lines cannot be had any more.
NOT_SHOWN = "The invocation's log lines are not shown from here on"

#: What is logged before lines that may have been logged before.
COMES_AGAIN = (
    "The log of invocation %s follows from its start: the trigger of this task may have run before, in a triggerer "
    "that stopped, for example, and lines that it logged then come again"
)


class InvocationLog:
    """
    Writes an invocation's log lines into a task's log, in a group that the log page can fold.

    The group begins with the first line and ends with :meth:`end`, even if a thread is still writing. A line of the
    task's own closes it meanwhile, so that it is never folded away.

    :param max_lines: max lines to write; the others are counted, and one line says how many.
    :param may_come_again: whether another process may have written the first lines into the same log.
    """

    def __init__(
        self,
        logger: Any,
        invocation_id: str,
        *,
        max_lines: int = DEFAULT_MAX_LOG_LINES,
        may_come_again: bool = False,
    ) -> None:
        self.logger = SafeLogger.of(logger)
        self._invocation_id = invocation_id
        self._max_lines = max_lines
        self._may_come_again = may_come_again
        self._group = self.logger.group("Log of invocation %s", invocation_id)
        self._ended = False
        # write() runs on the reading thread, end() on either.
        self._lock = threading.Lock()
        self.lines = 0

    def write(self, news: LogLine | StreamError) -> None:
        with self._lock:
            self.lines += 1
            if self._ended or self.lines > self._max_lines:
                return
            if self._may_come_again:
                self._may_come_again = False
                self.logger.info(COMES_AGAIN, self._invocation_id)
            # The prefix marks the rest as the action's, even if it looks like a record of ours.
            if isinstance(news, LogLine):
                self.logger.log_in(self._group, logging.INFO, "kernel | %s", news.message.rstrip("\r\n"))
            else:
                self.logger.log_in(self._group, logging.WARNING, "kernel | error in the event stream: %s", news)

    def drain(self, is_read: Callable[[], bool]) -> Iterator[float]:
        """Yield how long to wait for more lines, until the stream is read or no more arrive."""
        deadline = time.monotonic() + LONGEST_DRAIN_SECONDS
        before = -1
        while not is_read() and self.lines != before and time.monotonic() < deadline:
            before = self.lines
            yield DRAIN_SECONDS

    def announce_delay(self, why: str) -> None:
        """Log that the lines come later, and why."""
        self.logger.info("The invocation's log lines come later, at its end at the latest: %s", why)

    def end(self, given_up: str | None = None) -> None:
        """End the group and log what is missing. Later calls do nothing."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self.logger.end(self._group)
            if self.lines > self._max_lines:
                self.logger.info(
                    "%d more lines of the invocation were left out (max_log_lines is %d)",
                    self.lines - self._max_lines,
                    self._max_lines,
                )
            if given_up is not None:
                self.logger.warning("%s: %s", NOT_SHOWN, given_up)
