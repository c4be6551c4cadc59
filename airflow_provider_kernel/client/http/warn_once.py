"""Warnings about what a server sends again and again: each is logged once in a process."""

from __future__ import annotations

from airflow_provider_kernel.client.bounds import MAX_WARNINGS
from airflow_provider_kernel.client.http.log_filter import logs_are_suppressed
from airflow_provider_kernel.client.safe_logger import get_logger

log = get_logger(__name__)

_logged: set[str] = set()


def warn_once(text: str) -> None:
    """
    Log a warning the first time, and not at all where logs are suppressed.

    :param text: our own words; a server's text would make each warning another one.
    """
    if logs_are_suppressed() or text in _logged or len(_logged) >= MAX_WARNINGS:
        return
    _logged.add(text)
    log.warning("%s (logged once)", text)
