"""
Looking at many invocations at once, through pages of Kernel's list.

The list has a hundred rows a page, so that it tells in one request what would take a hundred. What it does not show
is no word on an invocation: rows move over the borders of pages while they are read, a list may be behind, and a
list of running ones shows none that has ended. Whoever is missing is looked at one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.client.http.pagination import Page, next_page
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus

#: For fewer that have ended, the list of all is not tried: it may be long, and they may be anywhere in it.
_MIN_BATCH = 3
#: How many pages may tell of less than one each, before asking for each counts as cheaper.
_PATIENCE = 3
#: How much earlier than the first start a list begins, as nobody says whether its edge is part of it.
_MARGIN = timedelta(seconds=1)


@dataclass
class BulkStatus:
    """
    What a roll call has shown.

    :param found: by id, those of the wanted ones that answered.
    :param requests: how many requests it took.
    :param is_complete: whether the list was read to its end.
    """

    found: dict[str, Invocation] = field(default_factory=dict)
    requests: int = 0
    is_complete: bool = True


def list_active(wanted: Collection[str], *, statuses: Collection[str], most: int) -> Flow[BulkStatus]:
    """
    Look for invocations among those that have not ended.

    :param wanted: their ids.
    :param statuses: which states to look in, of ``queued`` and ``running``.
    :param most: how many requests it may take; after that the roll is not complete.
    :return: those that were there.
    """
    roll = BulkStatus()
    # In the order in which an invocation goes through them, so that none slips from the one list into the other.
    for status in (InvocationStatus.QUEUED, InvocationStatus.RUNNING):
        if status.value not in statuses:
            continue
        request: Request[Page[Invocation]] | None = requests.list_invocations(status=status)
        while request is not None:
            if roll.requests >= most:
                roll.is_complete = False
                return roll
            page = yield from _page(request, wanted, roll)
            request = next_page(request, page)
    return roll


def list_recently_ended(starts: Mapping[str, datetime | None]) -> Flow[BulkStatus]:
    """
    Look for invocations that have just ended, as long as that takes fewer requests than to ask for each.

    :param starts: by id, when each has started; ``None`` when nobody knows.
    :return: those that were found; it may be none.
    """
    roll = BulkStatus()
    known = [start for start in starts.values() if start is not None]
    if len(known) < _MIN_BATCH:
        return roll
    request: Request[Page[Invocation]] | None = requests.list_invocations(since=min(known) - _MARGIN)
    while request is not None and len(roll.found) < len(starts):
        if roll.requests >= len(roll.found) + _PATIENCE:
            roll.is_complete = False
            break
        page = yield from _page(request, starts, roll)
        request = next_page(request, page)
    return roll


def _page(request: Request[Page[Invocation]], wanted: Collection[str], roll: BulkStatus) -> Flow[Page[Invocation]]:
    page = yield from request
    roll.requests += 1
    roll.found.update((invocation.id, invocation) for invocation in page.items if invocation.id in wanted)
    return page
