"""
The links on a task's page.

Airflow's API server reads them from XCom only, without a custom XCom backend. So a task writes them there, past
such a backend, as soon as it knows them (one that is about to defer leaves that to Airflow), and they show while it
runs, while it is deferred, and after it failed.
When a task's process ends, Airflow calls ``get_link`` and stores the result. A process that does not know the link,
such as one after a deferral may not, returns what is stored already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import urlsplit

from airflow.sdk import BaseOperatorLink

from airflow_provider_kernel.client.safe_logger import side_information

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class _StoredLink(BaseOperatorLink):
    """A link that the task itself stores in XCom, under ``_link_<class name>``."""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the stored address. For an empty string, Airflow shows no link."""
        from airflow_provider_kernel.lifecycle import own_xcoms

        stored = own_xcoms.read(self.xcom_key, ti_key)
        return stored if is_web_address(stored) else ""

    def write(self, ti: Any, address: str | None, *, log: Any) -> None:
        """Store the link, on a worker or in the triggerer. A failure is logged and does not fail the task."""
        with side_information(f"Airflow did not store the link {self.name!r}", log):
            self._store(ti, address)

    def _store(self, ti: Any, address: str | None) -> None:
        from airflow_provider_kernel.lifecycle import own_xcoms

        own_xcoms.write(self.xcom_key, address, ti)


class KernelDashboardLink(_StoredLink):
    """
    Links to the page of the invocation that the connection's ``dashboard_url`` gives.

    ``dashboard_url`` may be a template with ``{invocation_id}``, ``{app_name}`` and ``{session_id}``. Kernel
    documents no URL for the page of an invocation, so there is no link without such a template.
    """

    name = "Kernel dashboard"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that this process knows, without asking Airflow; else the stored one."""
        known = getattr(operator, "known_link", None)
        return known if known == "" or is_web_address(known) else super().get_link(operator, ti_key=ti_key)


class KernelLiveViewLink(_StoredLink):
    """
    Links to the live view of the invocation's first browser, for tasks with ``live_view_link=True``.

    The address holds a token: every user who can see the task can watch and control the browser while it runs.
    The link is hidden when the task ends, since the browser ends with the invocation.
    """

    name = "Kernel live view"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the stored address while the task is deferred. Airflow asks when a process of it has ended."""
        # It is a running task instance, with the state in which the process leaves it.
        if getattr(ti_key, "state", None) != "deferred":
            return ""
        return super().get_link(operator, ti_key=ti_key)

    def take_back(self, ti: Any, address: str, *, log: Any) -> None:
        """Hide the link where the task ends in the triggerer, unless the next try has stored its own."""
        from airflow_provider_kernel.lifecycle import own_xcoms

        with side_information(f"Airflow did not hide the link {self.name!r}", log):
            if own_xcoms.read(self.xcom_key, ti) == address:
                own_xcoms.write(self.xcom_key, "", ti)

    def _store(self, ti: Any, address: str | None) -> None:
        """Store an http or https URL. A headless browser has no live view, and so no URL."""
        if is_web_address(address):
            super()._store(ti, address)


DASHBOARD = KernelDashboardLink()
LIVE_VIEW = KernelLiveViewLink()


def is_web_address(address: object) -> TypeGuard[str]:
    """Tell whether a link may lead there: to an http or https URL that browsers and Airflow read alike."""
    if not isinstance(address, str) or not address.isprintable() or " " in address:
        return False
    try:
        url = urlsplit(address)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.netloc)
