"""
Logging, and all else that is only for information, without harm to the work.

Two rules for the whole package. No text of somebody else reaches a log raw. And no failure of a link, a metric, a
log line or a callback ends an invocation, a task or a trigger.
"""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_provider_kernel.client.errors import KernelTaskKilledError
from airflow_provider_kernel.client.log_group import LogGroup, current_log
from airflow_provider_kernel.client.sanitize import escape_untrusted

#: The most lines of a traceback in a log; of a longer one the last.
_TRACEBACK_LINES = 100


@contextmanager
def side_information(failed: str, logger: Any | None) -> Iterator[None]:
    """
    Run a block that only informs, such as one that writes a link. If it fails, log that once and go on.

    All errors are caught, on purpose and at this one place: a bug here must not cost a run. What ends the work by
    intent passes. It is no ``Exception`` (a cancellation, ``KeyboardInterrupt``, a deferral, a task's timeout), but
    for the error of a task that was killed.

    :param failed: what could not be done, as a sentence without a full stop.
    :param logger: gets a warning; ``None`` for none.
    """
    try:
        yield
    except KernelTaskKilledError:
        raise
    except Exception as error:  # noqa: BLE001 (see above)
        if logger is not None:
            # Not the error's text: it may hold the address of a live view, which is a secret.
            SafeLogger.of(logger).warning("%s: %s", failed, _kind_and_place(error))


def only_informs(call: Callable[..., None], failed: str, logger: Any) -> Callable[..., None]:
    """Wrap a callback as :func:`side_information` does a block."""

    @functools.wraps(call)
    def guarded(*args: Any) -> None:
        with side_information(failed, logger):
            call(*args)

    return guarded


class SafeLogger:
    """
    Writes to a logger of the standard library or of structlog, each call as one record of one line.

    The whole text of a record is escaped, see ``sanitize.escape_untrusted``, so
    that no caller has to. A traceback becomes a record for each line. A call never raises: a record that cannot be
    written is lost.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    @classmethod
    def of(cls, logger: Any) -> SafeLogger:
        """Return a safe logger that writes to another one, which may be safe already."""
        return logger if isinstance(logger, cls) else cls(logger)

    def debug(self, message: str, *args: Any, **fields: Any) -> None:
        self._write(logging.DEBUG, message, args, fields)

    def info(self, message: str, *args: Any, **fields: Any) -> None:
        self._write(logging.INFO, message, args, fields)

    def warning(self, message: str, *args: Any, **fields: Any) -> None:
        self._write(logging.WARNING, message, args, fields)

    def error(self, message: str, *args: Any, **fields: Any) -> None:
        self._write(logging.ERROR, message, args, fields)

    def critical(self, message: str, *args: Any, **fields: Any) -> None:
        self._write(logging.CRITICAL, message, args, fields)

    def exception(self, message: str, *args: Any, **fields: Any) -> None:
        """Log an error with the traceback of the exception that is being handled."""
        self._write(logging.ERROR, message, args, {"exc_info": True, **fields})

    def log(self, level: int, message: str, *args: Any, **fields: Any) -> None:
        self._write(level, message, args, fields)

    def group(self, title: str, *args: Any) -> LogGroup:
        """Return a new group of lines, for :meth:`log_in`. It begins with its first line."""

        def write(mark: str, *, has_title: bool = False, end: str = "") -> None:
            text = escape_untrusted(_text(title, args)) if has_title else ""
            self._logger.log(logging.INFO, f"{mark}{text}{end}")

        return LogGroup(write)

    def log_in(self, group: LogGroup, level: int, message: str, *args: Any) -> None:
        """Log a line in a group. A line of this package that is in no group, or in another one, closes it first."""
        self._write(level, message, args, {}, group=group)

    def end(self, group: LogGroup) -> None:
        """End a group, if it is open."""
        with side_information("", None):
            current_log().end(group)

    def __getattr__(self, name: str) -> Any:
        # For Airflow and for subclasses of users, which may use what else their logger can do.
        if name.startswith("__") or name == "_logger":
            raise AttributeError(name)
        return getattr(self._logger, name)

    def _write(
        self,
        level: int,
        message: str,
        args: tuple[Any, ...],
        fields: dict[str, Any],
        *,
        group: LogGroup | None = None,
    ) -> None:
        with side_information("", None):  # there is no other place to report it
            with_traceback = fields.pop("exc_info", None)
            options: dict[str, Any] = {
                name: escape_untrusted(value) if isinstance(value, str) else value for name, value in fields.items()
            }
            if isinstance(self._logger, logging.Logger):
                options["stacklevel"] = options.get("stacklevel", 1) + 2  # the record names our caller
            text = escape_untrusted(_text(message, args))
            with current_log().lines_of(group):
                self._logger.log(level, text, **options)
                for line in _traceback_lines() if with_traceback else ():
                    self._logger.log(level, escape_untrusted(f"| {line}"), **options)


class SafeLogMixin:
    """Makes the ``log`` of an operator, a hook, a notifier or a trigger a :class:`SafeLogger`."""

    @property
    def log(self) -> Any:
        return SafeLogger.of(super().log)  # type: ignore[misc]


def get_logger(name: str) -> SafeLogger:
    """Return the logger of a module."""
    return SafeLogger(logging.getLogger(name))


def _text(message: Any, args: tuple[Any, ...]) -> str:
    if not args:
        return str(message)
    if len(args) == 1 and isinstance(args[0], Mapping) and args[0]:  # as the standard library does
        args = args[0]  # type: ignore[assignment]
    try:
        return str(message) % args
    except (TypeError, ValueError, KeyError):
        return f"{message} {args!r}"


def _traceback_lines() -> list[str]:
    return traceback.format_exc().splitlines()[-_TRACEBACK_LINES:]


def _kind_and_place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}(), {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
