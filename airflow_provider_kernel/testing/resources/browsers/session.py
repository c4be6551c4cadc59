"""A browser session while the emulator holds it."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_kernel.testing.clock import NANOSECONDS, Clock, format_time
from airflow_provider_kernel.testing.resources.browsers.bodies import IDLE_SECONDS
from airflow_provider_kernel.testing.resources.browsers.machine import Machine
from airflow_provider_kernel.testing.resources.browsers.record import BrowserRecord, EndCause

#: How long a session that nobody uses stays awake, in emulated seconds.
STANDBY_SECONDS = 5.0
_YEAR = 365 * 24 * 3600
#: Fields of the create request that the session shows unchanged.
_SHOWN = ("viewport", "kiosk_mode", "gpu", "start_url", "chrome_policy", "network", "vaults", "proxy", "proxy_id")


@dataclass(eq=False)
class Session:
    """A browser session. The backend's signal guards everything that changes."""

    id: str
    project_id: str
    options: dict[str, Any]
    clock: Clock
    created: int
    opened: int
    profile: dict[str, Any] | None
    machine: Machine
    token: str = ""
    name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    #: Connections and calls that are in progress.
    clients: int = 0
    connections: int = 0
    #: Each closes a DevTools connection that is open.
    closers: list[Callable[[], object]] = field(default_factory=list)
    #: `time.monotonic()` since when it is not used; None while it is.
    quiet_since: float | None = field(default_factory=time.monotonic)
    awake_since: float | None = field(default_factory=time.monotonic)
    uptime_seconds: float = 0.0
    ended: int | None = None
    ended_real: float = 0.0
    end_cause: EndCause | None = None
    closed: int | None = None
    saved: bool = False
    created_real: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Take name and tags from the options."""
        self.token = self.token or _token(self.id, self.created)
        self.name = self.options.get("name")
        self.tags = dict(self.options.get("tags") or {})
        self.shown = {name: self.options[name] for name in _SHOWN if name in self.options}

    @property
    def is_active(self) -> bool:
        return self.ended is None

    @property
    def headless(self) -> bool:
        return bool(self.options.get("headless", False))

    @property
    def timeout_seconds(self) -> int:
        return int(self.options.get("timeout_seconds", IDLE_SECONDS))

    @property
    def saves_profile(self) -> bool:
        return bool(self.profile and (self.options.get("profile") or {}).get("save_changes"))

    @property
    def idle_ends(self) -> float | None:
        """`time.monotonic()` when the idle limit ends it; None while it is used."""
        if self.quiet_since is None:
            return None
        return self.quiet_since + (self.clock.real(STANDBY_SECONDS + self.timeout_seconds) or 0.0)

    def set_allowed_hosts(self, hosts: list[str] | None) -> None:
        """Change the only hosts that it may reach; nothing checks them. Without any, it may reach all."""
        network = {**self.shown.get("network", {}), "allowed_hosts": hosts}
        self.shown["network"] = {name: value for name, value in network.items() if value}

    def enter(self) -> None:
        """Note that something begins to use it."""
        self._settle_uptime(time.monotonic())
        self.clients += 1
        self.quiet_since = None
        if self.awake_since is None:
            self.awake_since = time.monotonic()

    def leave(self) -> None:
        """Note that something stops to use it."""
        self.clients -= 1
        if self.clients == 0:
            self.quiet_since = time.monotonic()

    def awake_seconds(self, now: float) -> float:
        """Return for how long it was awake, in emulated seconds."""
        if self.awake_since is None:
            return self.uptime_seconds
        return self.uptime_seconds + max(0.0, self._sleeps(now) - self.awake_since) * self.clock.scale

    def is_awake(self, now: float) -> bool:
        return self.is_active and self.awake_since is not None and self._sleeps(now) >= now

    def end(self, cause: EndCause, at: int, real: float, closed: int) -> None:
        """Note its end."""
        self.uptime_seconds, self.awake_since = self.awake_seconds(real), None
        self.ended, self.ended_real, self.end_cause, self.closed = at, real, cause, closed
        self.saved = self.saves_profile

    def _sleeps(self, now: float) -> float:
        """Return when it falls or fell into standby, at the latest now."""
        if self.quiet_since is None:
            return now
        return min(now, self.quiet_since + (self.clock.real(STANDBY_SECONDS) or 0.0))

    def _settle_uptime(self, now: float) -> None:
        if self.awake_since is not None and self._sleeps(now) < now:
            self.uptime_seconds, self.awake_since = self.awake_seconds(now), None

    def json(self, netloc: str, *, usage_pending: bool = False) -> dict[str, Any]:
        """
        Return the `Browser`.

        :param netloc: host and port under which the client knows the emulator.
        :param usage_pending: whether the usage of a session that has ended is not final yet.
        """
        address, secret = f"{netloc}/browser/{self.id}", f"?jwt={self.token}"
        body: dict[str, Any] = {
            "session_id": self.id,
            "created_at": format_time(self.created),
            "headless": self.headless,
            "stealth": bool(self.options.get("stealth", False)),
            "timeout_seconds": self.timeout_seconds,
            "region": self.options.get("region", "us-east"),
            "memory": self.options.get("memory", "1GiB" if self.headless else "8GiB"),
            "cdp_ws_url": f"ws://{address}/cdp{secret}",
            "webdriver_ws_url": f"ws://{address}/webdriver/session{secret}",
            "base_url": f"http://{address}/kernel",
            **self.shown,
        }
        if not self.headless:
            body["browser_live_view_url"] = f"http://{address}/live{secret}"
        if self.name:
            body["name"] = self.name
        if self.tags:
            body["tags"] = dict(self.tags)
        if self.profile is not None:
            body["profile"] = dict(self.profile)
            body["profile_save_changes"] = self.saves_profile
        if self.ended is not None:
            body["deleted_at"] = format_time(self.ended)
            body["usage_status"] = "pending" if usage_pending else "ready"
            body["usage"] = {"uptime_ms": round(self.uptime_seconds * 1000)}
        return body

    def record(self) -> BrowserRecord:
        """Return a snapshot."""
        now = time.monotonic()
        return BrowserRecord(
            session_id=self.id,
            project_id=self.project_id,
            name=self.name,
            tags=dict(self.tags),
            options=self.options,
            timeout_seconds=self.timeout_seconds,
            created_at=format_time(self.created),
            ended_at=None if self.ended is None else format_time(self.ended),
            end_cause=self.end_cause,
            clients=self.clients,
            connections=self.connections,
            awake=self.is_awake(now),
            uptime_ms=round(self.awake_seconds(now) * 1000),
            profile_saved=self.saved,
            chromium_pid=self.machine.chromium_pid,
            folder=self.machine.folder,
            token=self.token,
            opened=self.opened,
            closed=self.closed,
        )


def _token(session_id: str, created: int) -> str:
    """Return a token of Kernel's form; only the emulator's own table says what it opens."""
    issued = created // NANOSECONDS
    parts = (
        {"alg": "HS256", "typ": "JWT"},
        {"session": {"id": session_id}, "iat": issued, "exp": issued + _YEAR},
    )
    encoded = [_base64(json.dumps(part, separators=(",", ":")).encode()) for part in parts]
    return ".".join([*encoded, _base64(secrets.token_bytes(32))])


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
