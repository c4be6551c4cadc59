"""The lines that an invocation logs, on their way into a task's log."""

from __future__ import annotations

import re
import threading
from typing import Any, Protocol

from airflow_provider_kernel.client.resources.invocations.models import LogLine, StreamError
from airflow_provider_kernel.validation import DEFAULT_MAX_LOG_LINES as DEFAULT_MAX_LOG_LINES

#: Kernel itself cuts lines here.
MAX_LINE_LENGTH = 64 * 1024
#: After the end of an invocation, its last lines are waited for as long as in so many seconds some come,
DRAIN_SECONDS = 5.0
#: but no longer than this.
LONGEST_DRAIN_SECONDS = 60.0

#: Airflow's log page folds what stands between these two, wherever in a line they stand.
_GROUP, _GROUP_END = "::group::", "::endgroup::"
_GROUP_MARK = re.compile(r":(?=:(?:end)?group::)")


class _Logger(Protocol):
    def info(self, msg: str, /, *args: Any) -> Any: ...

    def warning(self, msg: str, /, *args: Any) -> Any: ...


def harmless(text: str) -> str:
    """
    Make a remote line fit for a log: one record of ours, whatever it holds.

    :param text: the line as the action wrote it.
    :return: the line without its final line break, cut to a bounded length, and with every character that is not
        plainly visible (line breaks, terminal controls, marks of writing direction) written as an escape, as are
        the marks by which Airflow's log page folds lines away.
    """
    text = text.rstrip("\r\n")
    left_out = len(text) - MAX_LINE_LENGTH
    if left_out > 0:
        text = text[:MAX_LINE_LENGTH]
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c == "\t" else _escape(c) for c in text)
    text = _GROUP_MARK.sub(r"\\x3a", text)
    return f"{text}… ({left_out} more characters)" if left_out > 0 else text


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class InvocationLog:
    """
    Write what an invocation logs into a task's log, up to a bound, as one group that the log page can fold.

    The group begins with the first line and ends with :meth:`end`, also when a thread is still writing then: what
    the task itself says afterwards is never folded away.

    :param logger: the task's logger.
    :param invocation_id: the invocation, for the name of the group.
    :param max_lines: how many lines to write; the rest is counted and told of in one line.
    """

    def __init__(self, logger: _Logger, invocation_id: str, *, max_lines: int = DEFAULT_MAX_LOG_LINES) -> None:
        self._logger = logger
        self._invocation_id = invocation_id
        self._max_lines = max_lines
        self._in_group = False
        self._ended = False
        # Lines come on a thread, and the end on either.
        self._lock = threading.Lock()
        self.lines = 0

    def write(self, news: LogLine | StreamError) -> None:
        """
        Write a line or an error.

        :param news: what the stream told.
        """
        with self._lock:
            self.lines += 1
            if self._ended or self.lines > self._max_lines:
                return
            if not self._in_group:
                self._in_group = True
                self._logger.info("%sLog of invocation %s", _GROUP, harmless(self._invocation_id))
            # The mark in front: what stands behind it is the action's, even if it looks like a record of ours.
            if isinstance(news, LogLine):
                self._logger.info("kernel | %s", harmless(news.message))
            else:
                self._logger.warning("kernel | error in the event stream: %s", harmless(str(news)))

    def tell_late(self, why: str) -> None:
        """
        Say that the lines come later.

        :param why: why.
        """
        self._logger.info("The invocation's log lines come later, at its end at the latest: %s", why)

    def end(self, given_up: str | None = None) -> None:
        """
        End the group, and tell what is missing. Does nothing when called again.

        :param given_up: why the stream was given up, if it was.
        """
        with self._lock:
            if self._ended:
                return
            self._ended = True
            if self._in_group:
                self._logger.info(_GROUP_END)
            if self.lines > self._max_lines:
                self._logger.info(
                    "%d more lines of the invocation were left out (max_log_lines is %d)",
                    self.lines - self._max_lines,
                    self._max_lines,
                )
            if given_up is not None:
                self._logger.warning(
                    "The invocation's log lines are not shown from here on: %s", harmless(given_up)
                )
