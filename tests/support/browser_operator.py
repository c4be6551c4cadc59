"""An operator whose task owns a browser, and does with it what a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_kernel.client.resources.browsers.options import browser_body
from airflow_provider_kernel.operators._browser_task import BrowserTask, own_browser
from airflow_provider_kernel.operators.base import KernelBaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class BrowserOperator(KernelBaseOperator):
    """
    :param work: gets the operator and its :class:`BrowserTask`; what it returns is the task's result.
    :param start_timeout: for how long to wait for a place.
    :param on_killed: is called after a kill.
    :param options: of the browser.
    """

    owned_kind: ClassVar[str] = "browser"

    def __init__(
        self,
        *,
        work: Callable[[BrowserOperator, BrowserTask], Any] = lambda operator, owned: None,
        start_timeout: float = 5.0,
        on_killed: Callable[[], object] = lambda: None,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.work = work
        self.start_timeout = start_timeout
        self.on_killed = on_killed
        self.options = options or {}

    def run_with_hook(self, context: Context) -> Any:
        owned = own_browser(
            self,
            context,
            browser_body(**self.options),
            start_timeout=self.start_timeout,
            on_killed=[self.on_killed],
        )
        with owned:
            return self.work(self, owned)

    def on_kill(self) -> None:
        self._kill_runs()
