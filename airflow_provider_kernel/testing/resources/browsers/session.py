"""A browser session while the emulator holds it, and what tests see of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.testing.clock import format_time

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.resources.browsers.machine import Machine

#: Emulated seconds without a client before a session sleeps.
STANDBY_SECONDS = 5.0
DEFAULT_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class BrowserRecord:
    """
    A snapshot of a browser session.

    :param session_id: its ID.
    :param project_id: the project it belongs to.
    :param name: its name, if it has one.
    :param tags: its tags.
    :param options: the body of its create request.
    :param created_at: RFC 3339.
    :param ended_at: RFC 3339, or None.
    :param end_cause: what ended it: `deleted` or `idle`; None while it is active.
    :param uptime_ms: for how long it was awake, in emulated milliseconds.
    :param clients: how many connections and calls use it now.
    :param opened: position of its start in the order of all starts and ends.
    :param closed: position of its end in that order, or None.
    """

    session_id: str
    project_id: str
    name: str | None
    tags: dict[str, str]
    options: dict[str, Any]
    created_at: str
    ended_at: str | None
    end_cause: str | None
    uptime_ms: int
    clients: int
    opened: int
    closed: int | None

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None


@dataclass(eq=False)
class Session:
    """
    A browser session; its store guards and changes it.

    :param real: converts emulated seconds into real ones.
    """

    id: str
    project_id: str
    options: dict[str, Any]
    machine: Machine
    created: int
    opened: int
    real: Callable[[float], float]
    name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    start_url: str | None = None
    ended: int | None = None
    closed: int | None = None
    end_cause: str | None = None
    clients: int = 0
    #: Kernel's tokens have three parts, too.
    token: str = field(default_factory=lambda: f"eyJ0.{secrets.token_urlsafe(24)}.{secrets.token_urlsafe(24)}")
    _awake_since: float = field(default_factory=time.monotonic)
    _idle_since: float = field(default_factory=time.monotonic)
    _awake: float = 0.0

    @property
    def is_active(self) -> bool:
        return self.ended is None

    @property
    def timeout_seconds(self) -> int:
        return int(self.options.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS))

    @property
    def idle_end(self) -> float | None:
        """When it ends if nobody uses it, by the monotonic clock; None while somebody does."""
        if self.clients:
            return None
        return self._idle_since + self.real(STANDBY_SECONDS + self.timeout_seconds)

    def enter(self) -> None:
        """Note that a client uses it from now on."""
        now = time.monotonic()
        if not self.clients and now > self._sleeps_at:
            self._awake += self._sleeps_at - self._awake_since
            self._awake_since = now
        self.clients += 1

    def leave(self) -> None:
        """Note that a client does not use it any more."""
        self.clients -= 1
        self._idle_since = time.monotonic()

    def end(self, cause: str, *, at: int, order: int) -> None:
        """Note its end."""
        self._awake = self._awake_seconds()
        self.ended, self.end_cause, self.closed = at, cause, order

    @property
    def uptime_ms(self) -> int:
        """For how long it was awake, in emulated milliseconds."""
        seconds = self._awake if self.ended is not None else self._awake_seconds()
        return round(seconds / self.real(1.0) * 1000)

    @property
    def _sleeps_at(self) -> float:
        return self._idle_since + self.real(STANDBY_SECONDS)

    def _awake_seconds(self) -> float:
        now = time.monotonic()
        until = now if self.clients else min(now, max(self._sleeps_at, self._awake_since))
        return self._awake + until - self._awake_since

    def json(self, netloc: str) -> dict[str, Any]:
        """
        Return the `Browser`.

        :param netloc: host and port under which the client knows the emulator.
        """
        options = self.options
        secret = f"?jwt={self.token}"
        document: dict[str, Any] = {
            "session_id": self.id,
            "created_at": format_time(self.created),
            "cdp_ws_url": f"ws://{netloc}/browser/{self.id}/cdp{secret}",
            "webdriver_ws_url": f"ws://{netloc}/browser/{self.id}/webdriver{secret}",
            "base_url": f"http://{netloc}/browser/{self.id}/kernel",
            "headless": options.get("headless", False),
            "stealth": options.get("stealth", False),
            "timeout_seconds": self.timeout_seconds,
            "memory": options.get("memory", "1GiB" if options.get("headless") else "8GiB"),
            "region": options.get("region", "us-east"),
            "tags": dict(self.tags),
        }
        if not document["headless"]:
            document["browser_live_view_url"] = f"http://{netloc}/browser/{self.id}/live{secret}"
        if self.name:
            document["name"] = self.name
        if self.start_url:
            document["start_url"] = self.start_url
        for field_name in ("viewport", "kiosk_mode", "gpu", "proxy", "network", "chrome_policy", "location"):
            if field_name in options:
                document[field_name] = options[field_name]
        if "profile" in options:
            profile = options["profile"]
            named = {"name": profile["name"]} if "name" in profile else {}
            created = format_time(self.created)
            document["profile"] = {
                "id": profile.get("id", f"profile-{profile.get('name')}"),
                **named,
                "created_at": created,
            }
            document["profile_save_changes"] = profile.get("save_changes", False)
        if self.ended is not None:
            document["deleted_at"] = format_time(self.ended)
            document["usage"] = {"uptime_ms": self.uptime_ms}
            document["usage_status"] = "ready"
        return document

    def record(self) -> BrowserRecord:
        """Return a snapshot."""
        return BrowserRecord(
            session_id=self.id,
            project_id=self.project_id,
            name=self.name,
            tags=dict(self.tags),
            options=dict(self.options),
            created_at=format_time(self.created),
            ended_at=None if self.ended is None else format_time(self.ended),
            end_cause=self.end_cause,
            uptime_ms=self.uptime_ms,
            clients=self.clients,
            opened=self.opened,
            closed=self.closed,
        )
