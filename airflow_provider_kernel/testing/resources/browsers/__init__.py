"""``/browsers``: browser sessions, and what runs inside them."""

from __future__ import annotations

from airflow_provider_kernel.testing.resources.browsers.record import BrowserRecord
from airflow_provider_kernel.testing.resources.browsers.routes import Browsers

__all__ = ["BrowserRecord", "Browsers"]
