"""The profiles that browsers are made with: their records. The emulator makes any that a request names."""

from __future__ import annotations

from typing import Any

from airflow_provider_kernel.testing.backend import new_id
from airflow_provider_kernel.testing.clock import Clock, format_time


class Profiles:
    """
    All profiles. What a Chromium keeps in one is in a folder of the host, until the emulator stops.

    :param clock: for the times of the records.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._profiles: dict[str, dict[str, Any]] = {}

    def find(self, wanted: dict[str, Any] | None) -> dict[str, Any] | None:
        """
        Return the `Profile` that a request names, or None if it names none.

        :param wanted: the field `profile` of the request.
        """
        if wanted is None:
            return None
        for found in self._profiles.values():
            if wanted.get("id") == found["id"] or ("name" in wanted and wanted["name"] == found.get("name")):
                return found
        made = {"id": wanted.get("id", new_id()), "created_at": format_time(self._clock.now())}
        if "name" in wanted:
            made["name"] = wanted["name"]
        self._profiles[made["id"]] = made
        return made

    def clear(self) -> None:
        """Forget all profiles."""
        self._profiles.clear()
