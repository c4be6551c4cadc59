"""Triggers of a user, for the tests to run."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_kernel.hooks.kernel import KernelHook


class ShowsTheKey(BaseTrigger):
    """Uses the hook, and lets the key out as a debugging user may."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.ShowsTheKey", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        key = (await KernelHook().aget_config()).api_key
        logging.getLogger("user").warning("shown %s", key)
        raise RuntimeError(f"refused with {key}")
        yield TriggerEvent(None)
