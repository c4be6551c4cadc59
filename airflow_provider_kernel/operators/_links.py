"""The links of an operator, of which Airflow also asks a mapped task, which is only described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.links.kernel import DASHBOARD

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink


class LinksProperty(property):
    """
    The links of an operator, by its arguments.

    Of a mapped task Airflow has only the property. When the arguments of the task are refused, it goes through the
    links all the same; there are none then.
    """

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def shown_links(task: Any, links: tuple[BaseOperatorLink, ...]) -> tuple[BaseOperatorLink, ...]:
    """
    Leave out the link to the dashboard in a process that knows of none: Airflow would store an empty one.

    :param task: an operator, or a mapped one, which is only described.
    :param links: the links of its class.
    """
    if getattr(task, "known_link", None) == "":
        return tuple(link for link in links if link is not DASHBOARD)
    return links


#: The links of an operator that has no other one.
DASHBOARD_LINKS = LinksProperty(lambda task: shown_links(task, (DASHBOARD,)))
