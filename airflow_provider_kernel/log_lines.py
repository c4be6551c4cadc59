"""The lines that an invocation logs, on their way into a task's log."""

from __future__ import annotations

from typing import Any, Protocol

from airflow_provider_kernel.api.models import LogLine, StreamError

#: Kernel itself cuts lines here.
MAX_LINE_LENGTH = 64 * 1024
DEFAULT_MAX_LOG_LINES = 10_000
#: After the end of an invocation, its last lines are waited for as long as in so many seconds some come,
DRAIN_SECONDS = 5.0
#: but no longer than this.
LONGEST_DRAIN_SECONDS = 60.0


class _Logger(Protocol):
    def info(self, msg: str, /, *args: Any) -> Any: ...

    def warning(self, msg: str, /, *args: Any) -> Any: ...


def harmless(text: str) -> str:
    """
    Make a remote line fit for a log: one record of ours, whatever it holds.

    :param text: the line as the action wrote it.
    :return: the line without its final line break, cut to a bounded length, and with every character that is not
        plainly visible (line breaks, terminal controls, marks of writing direction) written as an escape.
    """
    text = text.rstrip("\r\n")
    left_out = len(text) - MAX_LINE_LENGTH
    if left_out > 0:
        text = text[:MAX_LINE_LENGTH]
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c == "\t" else _escape(c) for c in text)
    return f"{text}… ({left_out} more characters)" if left_out > 0 else text


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class InvocationLog:
    """
    Write what an invocation logs into a task's log, up to a bound.

    :param logger: the task's logger.
    :param max_lines: how many lines to write; the rest is counted and told of in one line.
    """

    def __init__(self, logger: _Logger, *, max_lines: int = DEFAULT_MAX_LOG_LINES) -> None:
        self._logger = logger
        self._max_lines = max_lines
        self.lines = 0

    def write(self, news: LogLine | StreamError) -> None:
        """
        Write a line or an error.

        :param news: what the stream told.
        """
        self.lines += 1
        if self.lines > self._max_lines:
            return
        # The mark in front: what stands behind it is the action's, even if it looks like a record of ours.
        if isinstance(news, LogLine):
            self._logger.info("kernel | %s", harmless(news.message))
        else:
            self._logger.warning("kernel | error in the event stream: %s", harmless(str(news)))

    def end(self, given_up: str | None = None) -> None:
        """
        Tell what is missing.

        :param given_up: why the stream was given up, if it was.
        """
        if self.lines > self._max_lines:
            self._logger.info(
                "%d more lines of the invocation were left out (max_log_lines is %d)",
                self.lines - self._max_lines,
                self._max_lines,
            )
        if given_up is not None:
            self._logger.warning("The invocation's log lines are not shown from here on: %s", harmless(given_up))
