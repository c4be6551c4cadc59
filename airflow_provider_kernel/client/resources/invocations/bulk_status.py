"""The status of many invocations from pages of the list. Absence proves nothing: rows shift, and the list lags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from airflow_provider_kernel.client.flow import Flow, Pages
from airflow_provider_kernel.client.http.pagination import Page
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.requests import list_invocations
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.timestamps import parse_timestamp

#: For fewer invocations, single requests are cheaper than a list.
MIN_LISTED = 3
#: A list is given up after this many pages without a wanted invocation, and one more for every ten of these.
_PATIENCE = 3
#: How much earlier than the first start the list begins: whether ``since`` is inclusive is not documented.
_MARGIN = timedelta(seconds=1)


def poll_list(
    known: Mapping[str, Invocation | None], missing: set[str], publish: Callable[[Invocation], None]
) -> Flow[bool]:
    """
    Read the lists of running, queued and ended invocations, as long as they may show a missing one.

    :param known: by id, the last known status of the wanted invocations.
    :param missing: all their ids; those that a list shows are removed.
    :param publish: called for each of these.
    :return: whether the lists show most of the wanted invocations, and are worth reading again.
    """
    is_worth_it = yield from _read(list_invocations(status=InvocationStatus.RUNNING), missing, publish)
    running = {i for i, found in known.items() if found and found.status == InvocationStatus.RUNNING}
    if is_worth_it and not missing <= running:
        is_worth_it = yield from _read(list_invocations(status=InvocationStatus.QUEUED), missing, publish)
    found_before = (known[i] for i in missing)
    starts = [start for found in found_before if found and (start := parse_timestamp(found.started_at))]
    if is_worth_it and len(starts) >= MIN_LISTED:
        yield from _read(list_invocations(since=min(starts) - _MARGIN), missing, publish)
    return is_worth_it and 2 * len(missing) <= len(known)


def _read(first: Request[Page[Invocation]], missing: set[str], publish: Callable[[Invocation], None]) -> Flow[bool]:
    pages = Pages(first)
    patience = _PATIENCE + len(missing) // 10
    while missing:
        if patience <= 0:
            return False
        page = yield from pages.fetch()
        if page is None:
            break
        found = [invocation for invocation in page.items if invocation.id in missing]
        missing.difference_update(invocation.id for invocation in found)
        for invocation in found:
            publish(invocation)
        patience += len(found) - 1
    return True
