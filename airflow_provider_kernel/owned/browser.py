"""How Airflow starts, finds and ends a browser that it owns."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelNotFoundError,
    KernelTaskKilledError,
    KernelTimeoutError,
)
from airflow_provider_kernel.client.flow import Flow, Pages, Sleep
from airflow_provider_kernel.client.http.pagination import Page
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.resources.browsers import flows, requests
from airflow_provider_kernel.client.resources.browsers.models import BrowserSession
from airflow_provider_kernel.client.resources.browsers.options import DEFAULT_START_TIMEOUT
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.client.timestamps import utc_now
from airflow_provider_kernel.hooks.browsers import log_wait, places
from airflow_provider_kernel.lifecycle.ledger import StartRecord, fingerprint
from airflow_provider_kernel.lifecycle.resource import EndReport, StartMark
from airflow_provider_kernel.owned.browser_mark import (
    START,
    BrowserMark,
    join_tags,
    owner_tags,
    read_start_mark,
)

log = get_logger(__name__)

#: How long after Kernel took a create the session may be missing from GET and the list.
LAG_SECONDS = 5.0
#: How long an end goes on to look for a session while the process is about to be killed.
_URGENT_LAG_SECONDS = 2.0
#: The pause between two looks.
_PAUSE_SECONDS = 0.3
#: For how long a start goes on while Kernel cannot be reached to look up what an earlier one has started.
_OUTAGE_SECONDS = 600.0


class EndableBrowser:
    """
    A browser of which only the id is known: enough to end it, not to start or find one.

    :param tags: narrow the list of active ones to those that have these.
    """

    kind: ClassVar[str] = "browser"

    def __init__(self, tags: Mapping[str, str] | None = None) -> None:
        self._listed_tags = dict(tags or {})

    def get(self, external_id: str) -> Flow[BrowserSession]:
        return (yield from requests.get_browser(external_id, include_deleted=True))

    def is_over(self, found: BrowserSession) -> bool:
        return found.has_ended

    def external_id(self, found: BrowserSession) -> str:
        return found.session_id

    def describe(self, found: BrowserSession) -> str:
        return "ended" if found.has_ended else "active"

    def list_active(self) -> Iterable[Request[Page[BrowserSession]]]:
        yield requests.list_browsers(tags=self._listed_tags)

    def end(self, record: StartRecord, reason: str, *, urgent: bool) -> Flow[EndReport]:
        """End it. Kernel takes no reason, so that only the log tells it."""
        if record.external_id is None:
            return EndReport(found=False)
        return (yield from _end_by_id(record, reason, urgent=urgent))


class MarkedBrowser(EndableBrowser):
    """
    A browser whose tags name its owner, for the sweep.

    :param owner: names this Airflow; browsers of another one are not listed.
    :param counts: whether the name is this Airflow's alone; else no tag says whose a browser is.
    """

    def __init__(self, owner: str, *, counts: bool = True) -> None:
        super().__init__(owner_tags(owner))
        self._counts = counts

    def owner_mark(self, found: BrowserSession) -> Mapping[str, Any]:
        if not self._counts or not flows.has_tags(found, self._listed_tags):
            return {}
        return read_start_mark(found.tags or {})


class OwnedBrowser(EndableBrowser):
    """
    The browser that a task starts.

    Its name makes Kernel refuse a second one for the same try. Its tags name the task, so that a browser which a
    former try has left is found, and ended before this one is started, also without a record of Airflow's.

    :param body: of :func:`~airflow_provider_kernel.client.resources.browsers.options.browser_body`, without a name.
    :param mark: whose it is.
    :param start_timeout: for how long to wait while Kernel has no place for it, in seconds.
    :param former_patience: for how long what a former try has left may be missing from the list, in seconds.
    """

    listing_lag_seconds: ClassVar[float] = LAG_SECONDS
    lifetime_seconds: ClassVar[float] = _OUTAGE_SECONDS
    can_be_taken_over: ClassVar[bool] = False

    def __init__(
        self,
        body: Mapping[str, Any],
        mark: BrowserMark,
        *,
        start_timeout: float = DEFAULT_START_TIMEOUT,
        former_patience: float = 0.0,
    ) -> None:
        super().__init__(mark.task_tags)
        self._former_patience = former_patience
        self._body = dict(body)
        self._mark = mark
        self._start_timeout = start_timeout
        self._own_tokens: set[str] = set()
        #: What the last start has started, or a search has found.
        self.session: BrowserSession | None = None

    def input_fingerprint(self) -> str:
        return fingerprint(self.kind, json.dumps(self._body, sort_keys=True))

    def create(self, mark: StartMark) -> Flow[BrowserSession]:
        """End what former tries have left, and start it."""
        tags = join_tags(self._body.get("tags") or {}, self._mark.tags(mark))
        self._own_tokens.add(mark.token)
        return self._create({**self._body, "name": self._mark.name, "tags": tags}, mark.token)

    def find(self, record: StartRecord, *, patience: float) -> Flow[BrowserSession | None]:
        """Search by name and by the tag of the start, which no other browser has."""
        ends_at = time.monotonic() + patience
        while True:
            found = yield from self._find(record.token)
            if found is not None or time.monotonic() >= ends_at:
                self.session = found
                return found
            yield Sleep(_PAUSE_SECONDS)

    def end(self, record: StartRecord, reason: str, *, urgent: bool) -> Flow[EndReport]:
        """End it: by its id; before that is known, by its name, or by the tag of a former try's start."""
        if record.external_id is not None:
            return (yield from _end_by_id(record, reason, urgent=urgent))
        if record.token in self._own_tokens:
            name = self._mark.name
            if (yield from _end(name, patience=_patience(record, urgent=urgent))):
                return EndReport(((logging.INFO, f"Browser {name} was ended before its id was known: {reason}"),))
            return EndReport(found=False)
        found = yield from self.find(record, patience=_patience(record, urgent=urgent))
        if found is None:
            return EndReport(found=False)
        return (yield from _end_by_id(record.with_id(found.session_id), reason, urgent=urgent))

    def can_reconnect(self, found: BrowserSession) -> bool:
        return False

    def _create(self, body: Mapping[str, Any], token: str) -> Flow[BrowserSession]:
        ends_at = time.monotonic() + self._former_patience
        while not (yield from self._end_former(token)) and time.monotonic() < ends_at:
            yield Sleep(_PAUSE_SECONDS)
        yield Sleep(0.0)  # a kill that came meanwhile abandons the start here
        try:
            session = yield from flows.start_browser(
                body, start_timeout=self._start_timeout, places=places, on_wait=log_wait, mark={START: token}
            )
        except KernelAmbiguousStartError as error:
            error.permanent = False  # the next try ends what there is, and then starts another one
            raise
        self.session = session
        return session

    def _end_former(self, token: str) -> Flow[bool]:
        """
        End the browsers of former tries.

        :return: whether there were any.
        :raises KernelTaskKilledError: when a later try has started one. It must not be ended.
        """
        were_there = False
        for found in (yield from _listed(self._mark.task_tags)):
            tags = found.tags or {}
            if tags.get(START) == token:
                continue  # of this very start, whose answer got lost
            if self._mark.is_older_than(tags):
                raise KernelTaskKilledError(
                    f"Another try of this task has started browser {found.session_id} since; this process is of a "
                    "former try, and starts none"
                )
            log.info("Ending browser %s, which a former try of this task has left", found.session_id)
            yield from _end(found.session_id, patience=0.0)
            were_there = True
        return were_there

    def _find(self, token: str) -> Flow[BrowserSession | None]:
        wanted = {START: token}
        if token in self._own_tokens:
            try:
                found = yield from requests.get_browser(self._mark.name)
            except KernelNotFoundError as error:
                if not error.says_absent:
                    raise
            else:
                if flows.has_tags(found, wanted):
                    return found
        return next(iter((yield from _listed(wanted))), None) if token else None


def _listed(tags: Mapping[str, str]) -> Flow[list[BrowserSession]]:
    """List the active browsers that have all of some tags, whatever the list has found."""
    pages = Pages(requests.list_browsers(tags=tags))
    found: dict[str, BrowserSession] = {}
    while (page := (yield from pages.fetch())) is not None:
        found.update((each.session_id, each) for each in page.items if flows.has_tags(each, tags))
    return [each for each in found.values() if not each.has_ended]


def _end_by_id(record: StartRecord, reason: str, *, urgent: bool) -> Flow[EndReport]:
    session_id = str(record.external_id)
    if (yield from _end(session_id, patience=_patience(record, urgent=urgent))):
        return EndReport(((logging.INFO, f"Browser {session_id} was ended: {reason}"),))
    return EndReport(((logging.INFO, f"Browser {session_id} had ended before"),), was_over=True)


def _end(id_or_name: str, *, patience: float) -> Flow[bool]:
    """
    End a session.

    :param patience: for how long one that Kernel does not know may be too new to be known, in seconds.
    :return: whether there was one.
    """
    ends_at = time.monotonic() + patience
    while True:
        try:
            has_ended = yield from flows.end_browser(id_or_name)
        except KernelTimeoutError:
            # The end of one that saves its profile may take longer than the answer has time.
            if (yield from _is_over(id_or_name)) is False:
                raise
            return True
        if has_ended or time.monotonic() >= ends_at or (yield from _is_over(id_or_name)):
            return has_ended
        yield Sleep(_PAUSE_SECONDS)


def _is_over(id_or_name: str) -> Flow[bool | None]:
    """Return whether a session has ended; ``None`` for one that Kernel does not know."""
    try:
        found = yield from requests.get_browser(id_or_name, include_deleted=True)
    except KernelNotFoundError as error:
        if not error.says_absent:
            raise
        return None
    return found.has_ended


def _patience(record: StartRecord, *, urgent: bool) -> float:
    since_start = (utc_now() - record.intended).total_seconds() if record.is_readable else LAG_SECONDS
    left = max(0.0, LAG_SECONDS - since_start)
    return min(left, _URGENT_LAG_SECONDS) if urgent else left
