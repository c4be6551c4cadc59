"""
The models of browser sessions and of what is done inside them.

The addresses of a session carry a token with which anybody can use the browser: they are in no ``repr``.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from airflow_provider_kernel.client.http.model import ApiModel, Name


def _check_base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"is no base64: {error}") from None
    return text


Base64 = Annotated[str, AfterValidator(_check_base64)]


class BrowserUsage(ApiModel):
    """
    What a session has used.

    :param uptime_ms: for how long it was awake, in milliseconds; that is what Kernel charges for.
    """

    uptime_ms: int


class BrowserProfile(ApiModel):
    """The profile of a session: stored cookies and local storage."""

    id: str | None = None
    name: str | None = None


class BrowserPool(ApiModel):
    """The pool that a session was leased from."""

    id: str | None = None
    name: str | None = None


class BrowserSession(ApiModel):
    """
    A browser session. Kernel gives it no status: it has ended if :attr:`deleted_at` is there, or nothing is found.

    :param timeout_seconds: how long it may be idle before Kernel ends it; not how long it may live.
    :param cdp_ws_url: **secret**: where Playwright and other DevTools clients connect.
    :param webdriver_ws_url: **secret**: the same for WebDriver clients.
    :param browser_live_view_url: **secret**: a page to watch and use it; headful sessions only.
    :param base_url: **secret** with the token of the others: the API inside the browser's machine.
    :param usage: of an ended session, final if ``usage_status`` is ``"ready"``.
    """

    strict_fields: ClassVar[frozenset[str]] = frozenset({"cdp_ws_url", "tags"})

    session_id: Name = Field(min_length=1)
    created_at: str | None = None
    deleted_at: str | None = None
    name: str | None = None
    tags: dict[str, str] | None = None
    headless: bool | None = None
    stealth: bool | None = None
    timeout_seconds: int | None = None
    start_url: str | None = None
    region: str | None = None
    memory: str | None = None
    profile: BrowserProfile | None = None
    profile_save_changes: bool | None = None
    pool: BrowserPool | None = None
    usage: BrowserUsage | None = None
    usage_status: str | None = None
    cdp_ws_url: str | None = Field(default=None, repr=False)
    webdriver_ws_url: str | None = Field(default=None, repr=False)
    browser_live_view_url: str | None = Field(default=None, repr=False)
    base_url: str | None = Field(default=None, repr=False)

    @property
    def has_ended(self) -> bool:
        return bool(self.deleted_at)

    @property
    def id(self) -> str:
        """The session id, under the name that all objects of the API have."""
        return self.session_id


class ScriptResult(ApiModel):
    """
    How a Playwright script ended in the browser's machine.

    :param success: ``False`` when it threw, took too long, or was stopped.
    :param result: what it returned, any JSON value.
    :param error: why it failed.
    """

    strict_fields: ClassVar[frozenset[str]] = frozenset({"result"})

    success: bool
    result: Any = Field(default=None, repr=False)
    error: str | None = None
    stdout: str | None = Field(default=None, repr=False)
    stderr: str | None = Field(default=None, repr=False)


class CommandResult(ApiModel):
    """
    How a command ended in the browser's machine.

    :param duration_ms: how long it ran, in milliseconds.
    """

    strict_fields: ClassVar[frozenset[str]] = frozenset({"exit_code", "stdout_b64", "stderr_b64"})

    exit_code: int | None = None
    duration_ms: int | None = None
    stdout_b64: Base64 | None = Field(default=None, repr=False)
    stderr_b64: Base64 | None = Field(default=None, repr=False)

    @property
    def stdout(self) -> bytes:
        return base64.b64decode(self.stdout_b64 or "")

    @property
    def stderr(self) -> bytes:
        return base64.b64decode(self.stderr_b64 or "")


class FileInfo(ApiModel):
    """A file or a folder in the browser's machine."""

    name: str
    path: str
    is_dir: bool = False
    size_bytes: int | None = None
    mod_time: str | None = None
    mode: str | None = None


class Replay(ApiModel):
    """
    A recording of a session.

    :param replay_view_url: **secret**: a page that shows it.
    """

    replay_id: Name = Field(min_length=1)
    started_at: str | None = None
    finished_at: str | None = None
    replay_view_url: str | None = Field(default=None, repr=False)
