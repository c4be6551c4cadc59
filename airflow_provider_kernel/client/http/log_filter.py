"""Filters of the transport's loggers: nothing is logged where a log call could block, and nothing raw."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from airflow_provider_kernel.client.safe_logger import side_information
from airflow_provider_kernel.client.sanitize import escape_untrusted

#: The loggers to which httpx and httpcore log every request.
TRANSPORT_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)
_silent: ContextVar[bool] = ContextVar("kernel_client_silent", default=False)


def _filter(record: logging.LogRecord) -> bool:
    if _silent.get():
        return False
    with side_information("", None):  # a record that cannot be formatted
        # httpx logs the reason of an answer; httpcore its headers at DEBUG, which may echo those of the request.
        text = record.getMessage()
        if (escaped := escape_untrusted(text)) != text:
            record.msg, record.args = escaped, ()
    return True


for _name in TRANSPORT_LOGGERS:
    logging.getLogger(_name).addFilter(_filter)


def logs_are_suppressed() -> bool:
    """Return whether :func:`suppress_logs` is in force in this thread or task."""
    return _silent.get()


@contextmanager
def suppress_logs(when: bool) -> Iterator[None]:
    """
    Keep the transport from logging in this thread, or in this task of an event loop, if ``when`` is true.

    Every logger has a lock. The main thread may hold it while a signal handler interrupts it, and the cancel that
    the handler waits for must not wait for that lock.
    """
    token = _silent.set(when)
    try:
        yield
    finally:
        _silent.reset(token)
