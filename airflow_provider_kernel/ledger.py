"""
What a task remembers over its tries: that it meant to start an invocation, and which one it was.

A worker may die at any moment, also between sending the request and reading its answer. So the intent is written
down before the request, and the id after it, where Airflow 3.3 keeps things for a task over its tries
(``task_state_store``). The next try then knows what to look for. On older versions nothing is remembered.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

from airflow_provider_kernel.client.resources.invocations.find_started import utc_now
from airflow_provider_kernel.client.timestamps import parse_timestamp

KEY = "kernel_invocation"


@dataclass(frozen=True)
class Entry:
    """
    One start, as it is written down.

    :param asked: a fingerprint of what was asked for, without the mark of the try.
    :param token: a random name of this start.
    :param intended_at: when the request was about to be sent, RFC 3339.
    :param try_number: whose try it was.
    :param max_tries: how many tries the task had then; a clear raises it, a crash does not.
    :param invocation_id: what it started, once that is known.
    :param is_over: whether the try ended in good order, whatever became of the invocation.
    """

    asked: str
    token: str
    intended_at: str
    try_number: int
    max_tries: int
    invocation_id: str | None = None
    is_over: bool = False

    @property
    def intended(self) -> datetime:
        """When the request was about to be sent."""
        return parse_timestamp(self.intended_at) or utc_now()


class Ledger:
    """
    The ledger of a task.

    :param store: Airflow's store for the task; ``None`` remembers nothing.
    :param ti: the task instance.
    """

    def __init__(self, store: Any | None, ti: Any) -> None:
        self._store = store
        self._ti = ti
        self._entry: Entry | None = None

    @property
    def remembers(self) -> bool:
        """Whether a later try will know of this one."""
        return self._store is not None

    def last(self) -> Entry | None:
        """Read what the last try wrote down."""
        written = self._store.get(KEY) if self._store is not None else None
        if not isinstance(written, Mapping):
            return None
        known = {field.name for field in fields(Entry)}
        try:
            return Entry(**{name: value for name, value in written.items() if name in known})
        except TypeError:
            return None  # of another version of this package, which knew other things

    def is_thrown_away(self, entry: Entry) -> bool:
        """
        Tell whether an entry is of a try that somebody threw away (cleared), rather than of one that crashed.

        A clear of a task that is not running raises ``max_tries``; a running one has been ended in good order by
        then. A task instance that was deleted and made anew counts its tries from 1 again.

        :param entry: what an earlier try wrote down.
        """
        return bool(entry.max_tries != self._ti.max_tries or entry.try_number >= self._ti.try_number)

    def intend(self, asked: str, token: str) -> Entry:
        """
        Write down that a start is about to be sent.

        :param asked: the fingerprint of what it asks for.
        :param token: a random name of this start.
        """
        return self._write(
            Entry(
                asked=asked,
                token=token,
                intended_at=utc_now().isoformat(),
                try_number=self._ti.try_number,
                max_tries=self._ti.max_tries,
            )
        )

    def record(self, entry: Entry, invocation_id: str) -> Entry:
        """
        Write down what was started, or found.

        :param entry: the intent.
        :param invocation_id: the invocation. It is this try's now.
        """
        return self._write(
            replace(
                entry,
                invocation_id=invocation_id,
                try_number=self._ti.try_number,
                max_tries=self._ti.max_tries,
            )
        )

    def close(self) -> None:
        """Write down that the try ended in good order, so that the next one starts afresh."""
        entry = self._entry or self.last()
        if entry is not None and not entry.is_over:
            self._write(replace(entry, is_over=True))

    def _write(self, entry: Entry) -> Entry:
        self._entry = entry
        if self._store is not None:
            self._store.set(KEY, asdict(entry))
        return entry


def fingerprint(*parts: str | None) -> str:
    """
    Make a short text that is another one for other parts.

    :param parts: the parts.
    """
    return hashlib.sha256("\0".join(repr(part) for part in parts).encode("utf-8", "surrogatepass")).hexdigest()


def new_token() -> str:
    """Make a random name."""
    return secrets.token_hex(16)
