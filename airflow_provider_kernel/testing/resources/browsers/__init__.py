"""Browser sessions, and what runs inside them."""

from airflow_provider_kernel.testing.resources.browsers.routes import Browsers
from airflow_provider_kernel.testing.resources.browsers.session import BrowserRecord

__all__ = ["BrowserRecord", "Browsers"]
