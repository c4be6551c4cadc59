"""What a hook gives for browsers. The calls themselves are imported when they are used: few tasks need them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow_provider_kernel._compat import conf

if TYPE_CHECKING:
    from airflow_provider_kernel.client.client import KernelClient
    from airflow_provider_kernel.client.config import KernelConfig
    from airflow_provider_kernel.hooks.browsers import KernelBrowsers

#: Says which Airflow this is, where the connection does not.
OWNER_VARIABLE = "AIRFLOW_KERNEL_OWNER"
#: The owner where nothing says which Airflow this is.
UNNAMED_OWNER = "airflow"


class BrowserAccess:
    """Gives a hook its ``browsers``."""

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
        _ = self.config  # reads the connection
        base_url: str | None = conf.get("api", "base_url", fallback=None)
        named = self._owner or os.environ.get(OWNER_VARIABLE, "").strip() or (base_url or "").rstrip("/")
        return named or UNNAMED_OWNER
