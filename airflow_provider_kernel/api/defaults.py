"""Facts of the Kernel API that even a module that must import nothing may need."""

from __future__ import annotations

DEFAULT_BASE_URL = "https://api.onkernel.com"

#: The range of ``async_timeout_seconds``, after which Kernel ends an invocation by itself.
MIN_ASYNC_TIMEOUT_SECONDS = 10
MAX_ASYNC_TIMEOUT_SECONDS = 3600
#: What the API takes when none is given.
DEFAULT_ASYNC_TIMEOUT_SECONDS = 900

#: The front page of Kernel's dashboard. No page of one invocation is documented, so none is assumed.
DEFAULT_DASHBOARD_URL = "https://dashboard.onkernel.com"
