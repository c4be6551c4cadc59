"""Limits of an invocation. Imports nothing, so that a DAG file may use it."""

from __future__ import annotations

#: The range of ``async_timeout_seconds``, after which Kernel ends an invocation by itself.
MIN_ASYNC_TIMEOUT_SECONDS = 10
MAX_ASYNC_TIMEOUT_SECONDS = 3600
#: What the API takes when none is given.
DEFAULT_ASYNC_TIMEOUT_SECONDS = 900
