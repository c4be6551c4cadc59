"""
What Airflow can refuse when `execute` has returned, besides the result: asked before.

Afterwards it is too late: an invocation has its answer, or its output was paid for, and a retry would start anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_kernel._compat import encode_outlet_events
from airflow_provider_kernel.client.sanitize import sanitize_line, short_repr

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The column of the database.
_MAX_MAP_INDEX_CHARACTERS = 250


def find_refusal(task: Any, context: Mapping[str, Any]) -> str | None:
    """
    Find out whether Airflow would refuse the success of a task.

    :return: why, and what to do, as sentences without the last full stop.
    """
    return _refusal_of_map_index(task, context) or _refusal_of_events(context)


def _refusal_of_map_index(task: Any, context: Mapping[str, Any]) -> str | None:
    template = context.get("map_index_template")
    dag = task.get_dag()
    if template is None or dag is None:
        return None
    try:
        rendered = dag.get_template_env().from_string(template).render(context)
    except Exception as error:  # noqa: BLE001 (a template may raise anything)
        why = sanitize_line(f"{type(error).__name__}: {error}")
        return (
            f"map_index_template {short_repr(template)} cannot be rendered: {why}. Use what is in the task's "
            "context, or what its function puts there"
        )
    if len(str(rendered)) > _MAX_MAP_INDEX_CHARACTERS:
        return (
            f"map_index_template {short_repr(template)} renders to {len(rendered):,} characters; Airflow keeps "
            f"{_MAX_MAP_INDEX_CHARACTERS}. Shorten it, such as with the filter truncate"
        )
    return None


def _refusal_of_events(context: Mapping[str, Any]) -> str | None:
    events = context.get("outlet_events")
    if not events:
        return None
    try:
        encode_outlet_events(events)
    except Exception as error:  # noqa: BLE001 (Airflow's own code, on a value of the user)
        why = sanitize_line(f"{type(error).__name__}: {error}")
        return (
            f"the extra of an outlet event cannot be sent to Airflow: {why}. Use dict, list, str, int, float, bool "
            "and None in it"
        )
    return None
