"""Filters of the transport's loggers: nothing is logged where a log call could block, and the key is redacted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from airflow_provider_kernel.client.http.redaction import mask

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
#: The keys of this process. At DEBUG, httpcore logs the headers of an answer, which may echo those of the request;
#: Airflow masks the keys of its own connections only.
_keys: set[str] = set()


def _filter(record: logging.LogRecord) -> bool:
    if _silent.get():
        return False
    text = record.getMessage()
    for key in tuple(_keys):  # clients are made on many threads
        if key in text:
            record.msg, record.args = mask(text, key), ()
    return True


for _name in TRANSPORT_LOGGERS:
    logging.getLogger(_name).addFilter(_filter)


def keep_out_of_the_log(key: str) -> None:
    """Redact a key in the transport's log records in this process from now on."""
    _keys.add(key)


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
