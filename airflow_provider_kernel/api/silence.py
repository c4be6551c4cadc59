"""Keeping the transport's loggers silent where nothing may be logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: The loggers with which httpx and httpcore tell of every request.
TRANSPORT_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)
_silent: ContextVar[bool] = ContextVar("kernel_client_silent", default=False)

for _name in TRANSPORT_LOGGERS:
    logging.getLogger(_name).addFilter(lambda record: not _silent.get())


@contextmanager
def silence(when: bool) -> Iterator[None]:
    """
    Keep the transport from logging in this thread, or in this task of an event loop.

    A cancel that is sent while a signal handler holds up the main thread must not wait for a lock that the main
    thread was interrupted in, and every logger has one.

    :param when: whether to.
    """
    token = _silent.set(when)
    try:
        yield
    finally:
        _silent.reset(token)
