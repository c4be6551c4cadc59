"""
The links on a task's page.

Airflow's API server only reads them from XCom, so that is where they are written as soon as they are known: they
are there while the task runs and while it is deferred, and when it failed. Whenever a task's process ends, Airflow
asks each link for its address once more and writes that down; it is told what is there already, since the process
after a deferral knows no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class _Logger(Protocol):
    def warning(self, msg: str, /, *args: Any) -> Any: ...


class _WrittenLink(BaseOperatorLink):
    """A link that is written to XCom during the task, under ``_link_<class name>``."""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """
        Read what was written. If Airflow cannot read it now, it logs that and leaves what is there.

        :param operator: the task.
        :param ti_key: its task instance.
        :return: the address; empty when there is none, which shows no link.
        """
        from airflow.sdk.execution_time.xcom import XCom

        written = XCom.get_one(key=self.xcom_key, **_where(ti_key))
        return written if isinstance(written, str) else ""

    def write(self, ti: Any, address: str, *, log: _Logger) -> None:
        """
        Write the link. That this fails is logged, and does not harm the task.

        :param ti: the task instance, on a worker or in the triggerer.
        :param address: where it leads.
        :param log: the task's log.
        """
        from airflow.sdk.execution_time.xcom import XCom

        try:
            XCom.set(key=self.xcom_key, value=address, **_where(ti))
        except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from storing it, the task goes on)
            # Not the address: that of a live view is a secret.
            log.warning("Airflow did not store the link %r: %s", self.name, type(error).__name__)


class KernelDashboardLink(_WrittenLink):
    """
    Leads to Kernel's dashboard, or to where the connection's ``dashboard_url`` says.

    That may be a template with ``{invocation_id}``, ``{app_name}`` and ``{session_id}``. Kernel documents no page
    of an invocation, so the default is the dashboard's front page.
    """

    name = "Kernel dashboard"


class KernelLiveViewLink(_WrittenLink):
    """
    Leads to the live view of the invocation's first browser, for tasks with ``live_view_link=True``.

    Its address carries a token: whoever can see the task can watch the browser, and use it, while it lives.
    """

    name = "Kernel live view"

    def write(self, ti: Any, address: str | None, *, log: _Logger) -> None:
        """
        Write the link, unless there is none: a headless browser has no live view.

        :param ti: the task instance, on a worker or in the triggerer.
        :param address: where it leads, as Kernel told it.
        :param log: the task's log.
        """
        if address and urlsplit(address).scheme in ("http", "https"):
            super().write(ti, address, log=log)


DASHBOARD = KernelDashboardLink()
LIVE_VIEW = KernelLiveViewLink()


def _where(ti: Any) -> dict[str, Any]:
    return {
        "dag_id": ti.dag_id,
        "task_id": ti.task_id,
        "run_id": ti.run_id,
        "map_index": -1 if ti.map_index is None else ti.map_index,
    }
