"""What a mapped task has of its operator before it runs: ``partial()``, and the links."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_kernel.arguments import check_constants
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


class CheckedPartial:
    """
    ``partial()`` of an operator, with the check of the arguments that it is given.

    Airflow makes the operator of a mapped task only when the task runs.
    """

    def __get__(self, task: Any, cls: type[Any]) -> Callable[..., Any]:
        plain: Callable[..., Any] = vars(BaseOperator)["partial"].__get__(task, cls)
        if task is not None:  # Airflow's refuses that
            return plain

        def partial(**kwargs: Any) -> Any:
            check_constants(cls, kwargs)
            return plain(**kwargs)

        return partial
