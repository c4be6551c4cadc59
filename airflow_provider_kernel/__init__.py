"""Apache Airflow provider for Kernel: cloud browsers for AI agents, and the apps that drive them."""

from __future__ import annotations

__version__ = "0.1.0"

from airflow_provider_kernel.provider_info import get_provider_info

__all__ = ["__version__", "get_provider_info"]
