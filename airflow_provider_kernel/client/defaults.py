"""Default addresses. Imports nothing: every Airflow process loads it."""

from __future__ import annotations

DEFAULT_BASE_URL = "https://api.onkernel.com"
#: The front page of Kernel's dashboard. No page of one invocation is documented, so none is assumed.
DEFAULT_DASHBOARD_URL = "https://dashboard.onkernel.com"
