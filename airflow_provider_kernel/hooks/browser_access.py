"""What a hook gives for browsers. The calls themselves are imported when they are used: few tasks need them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel._compat import conf
from airflow_provider_kernel.client.safe_logger import get_logger, side_information

if TYPE_CHECKING:
    from airflow_provider_kernel.browser.handle import KernelBrowser
    from airflow_provider_kernel.client.client import KernelClient
    from airflow_provider_kernel.client.config import KernelConfig
    from airflow_provider_kernel.hooks.browsers import KernelBrowsers

log = get_logger(__name__)

#: Says which Airflow this is, where the connection does not.
OWNER_VARIABLE = "AIRFLOW_KERNEL_OWNER"
#: The owner where nothing says which Airflow this is.
UNNAMED_OWNER = "airflow"


class BrowserAccess:
    """Gives a hook its ``browsers``, and a browser for a block of code."""

    #: What the connection says; known once it is read.
    _owner: str | None = None

    if TYPE_CHECKING:

        @property
        def config(self) -> KernelConfig: ...

        def get_conn(self) -> KernelClient: ...

    @property
    def browsers(self) -> KernelBrowsers:
        """The calls for browsers, under the official SDK's names."""
        from airflow_provider_kernel.hooks.browsers import KernelBrowsers

        return KernelBrowsers(self.get_conn)

    @property
    def owner(self) -> str:
        """
        Which Airflow this is, in the tags of its browsers.

        It is ``owner`` in the connection's extra, else ``AIRFLOW_KERNEL_OWNER``, else ``[api] base_url``: what all
        components of an Airflow share.
        """
        return self._named_owner or UNNAMED_OWNER

    @property
    def is_owner_named(self) -> bool:
        """Whether something says which Airflow this is. Else two that share an account have one name."""
        return bool(self._named_owner)

    @property
    def _named_owner(self) -> str:
        _ = self.config  # reads the connection
        base_url: str | None = conf.get("api", "base_url", fallback=None)
        return self._owner or os.environ.get(OWNER_VARIABLE, "").strip() or (base_url or "").rstrip("/")

    @contextmanager
    def browser(self, **options: Any) -> Iterator[KernelBrowser]:
        """
        Start a browser for a block of code, and end it after the block. For notebooks and scripts.

        **No task owns it**: a process that is killed in the block leaves it until it was idle for its
        ``idle_timeout``. In a task, use ``@task.kernel_browser``, whose browser ends on a kill, too.

        ::

            with KernelHook().browser(stealth=True) as browser, browser.page() as page:
                page.goto("https://example.com")

        :param options: the arguments of :meth:`~airflow_provider_kernel.hooks.browsers.KernelBrowsers.create`.
        :raises KernelBrowserLimitError: when Kernel had no place for it within ``start_timeout``.
        :raises KernelError: when it could not be ended after a block that raised nothing.
        """
        from airflow_provider_kernel.browser.handle import KernelBrowser

        session_id = self.browsers.create(**options).session_id
        try:
            yield KernelBrowser(session_id, self)  # type: ignore[arg-type]
        except BaseException:
            with side_information(f"Browser {session_id} could not be ended", log):
                self.browsers.delete_by_id(session_id)
            raise
        self.browsers.delete_by_id(session_id)
