"""Time limits of an invocation. Imports nothing, so that DAG files may use them."""

from __future__ import annotations

#: The range of ``async_timeout_seconds``, after which Kernel ends an invocation by itself.
MIN_ASYNC_TIMEOUT_SECONDS = 10
MAX_ASYNC_TIMEOUT_SECONDS = 3600
#: The longest time from a start to the end that Kernel sets, in seconds: the limit, the queue, and some slack.
LONGEST_LIFE_SECONDS = MAX_ASYNC_TIMEOUT_SECONDS + 300
#: Kernel's default.
DEFAULT_ASYNC_TIMEOUT_SECONDS = 900
