"""The errors of browsers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.sanitize import sanitize_line

#: The fields of a session that carry its token.
SECRETS = ("cdp_ws_url", "webdriver_ws_url", "browser_live_view_url", "base_url")

if TYPE_CHECKING:
    from airflow_provider_kernel.client.resources.browsers.models import BrowserSession, ScriptResult


class KernelBrowserGoneError(KernelError):
    """
    The browser that was to be used has ended. Kernel does not say why.

    :param session: the ended session, where Kernel still shows it.
    """

    advice = (
        "Kernel does not say why a browser ends: it was idle for longer than its idle limit, somebody ended it, or "
        "it crashed. Raise idle_timeout if nothing used it for that long"
    )

    def __init__(self, session_id: str, session: BrowserSession | None = None) -> None:
        super().__init__(f"Browser {session_id} has ended{_facts(session)}")
        self.session_id = session_id
        # Without its addresses: an error is stored, and travels between processes.
        self.session = None if session is None else session.model_copy(update=dict.fromkeys(SECRETS))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.session_id, self.session), self.__dict__)


class KernelBrowserLimitError(KernelError):
    """
    Kernel had no place for another browser within ``start_timeout``. Nothing was started.

    :param used: how many sessions the organization had.
    :param allowed: how many it may have.
    """

    advice = (
        "Give the tasks an Airflow pool with fewer slots than the plan allows browsers, end browsers that nobody "
        "needs, or raise start_timeout"
    )

    def __init__(self, message: str = "", *, used: int | None = None, allowed: int | None = None) -> None:
        super().__init__(message)
        self.used = used
        self.allowed = allowed


class KernelScriptError(KernelError):
    """
    A Playwright script failed in the browser's machine.

    :param result: what Kernel says of it, with ``stdout`` and ``stderr``.
    """

    def __init__(self, result: ScriptResult) -> None:
        super().__init__(f"The script failed: {sanitize_line(result.error or '') or 'Kernel does not say why'}")
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.result,), self.__dict__)


class KernelCommandTimeoutError(KernelError):
    """A command took longer than its ``timeout_seconds``, and was killed in the browser's machine."""


def _facts(session: BrowserSession | None) -> str:
    if session is None:
        return ""
    facts = []
    if session.deleted_at:
        facts.append(f"at {sanitize_line(session.deleted_at, 40)}")
    if session.usage is not None:
        facts.append(f"after {session.usage.uptime_ms / 1000:.1f} s awake")
    if session.timeout_seconds is not None:
        facts.append(f"its idle limit was {session.timeout_seconds} s")
    return f" ({', '.join(facts)})" if facts else ""
