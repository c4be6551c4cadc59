"""What a hook gives for browsers. The calls themselves are imported when they are used: few tasks need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_kernel.client.client import KernelClient
    from airflow_provider_kernel.hooks.browsers import KernelBrowsers


class BrowserAccess:
    """Gives a hook its ``browsers``."""

    if TYPE_CHECKING:

        def get_conn(self) -> KernelClient: ...

    @property
    def browsers(self) -> KernelBrowsers:
        """The calls for browsers, under the official SDK's names."""
        from airflow_provider_kernel.hooks.browsers import KernelBrowsers

        return KernelBrowsers(self.get_conn)
