"""All browser sessions, without HTTP."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.testing.backend import new_id
from airflow_provider_kernel.testing.errors import ApiError
from airflow_provider_kernel.testing.resources.browsers.machine import Machine
from airflow_provider_kernel.testing.resources.browsers.session import Session
from airflow_provider_kernel.testing.resources.limits import Limits

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.backend import Backend


class SessionStore:
    """
    All sessions, and all changes of one.

    :param backend: the clock, the switches, and the signal that guards the sessions.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._order = itertools.count(1)
        self._sessions: dict[str, Session] = {}
        self._reaper: threading.Thread | None = None
        self._is_stopping = False
        self._name_free_at: dict[tuple[str, str], float] = {}

    def create(self, project_id: str, options: dict[str, Any]) -> Session:
        """
        Start a session.

        :param options: the body of the request.
        :raises ApiError: 409 for a name that is taken, 429 over the limit, 529 if the switches say so.
        """
        signal, switches = self._backend.signal, self._backend.switches
        name = options.get("name")
        with signal:
            if name:
                self._check_name(project_id, name)
            if switches.capacity_exhausted:
                raise ApiError(529, switches.capacity_code, "The platform is out of capacity; try again later")
            self._check_limit()
            session = Session(
                id=new_id(),
                project_id=project_id,
                options=options,
                machine=Machine(),
                created=self._backend.clock.now(),
                opened=next(self._order),
                real=self._real,
                name=name,
                tags=dict(options.get("tags") or {}),
                start_url=options.get("start_url"),
            )
            self._sessions[session.id] = session
            self._start_reaper()
            signal.notify()
        return session

    def _check_limit(self) -> None:
        limit, switches = self._backend.room(Limits).max_concurrent_sessions, self._backend.switches
        used = self.active_count()
        if used >= limit:
            headers = {} if switches.retry_after is None else {"Retry-After": str(switches.retry_after)}
            message = f"{used} browser sessions are active; the limit is {limit}"
            raise ApiError(429, switches.concurrency_code, message, headers=headers)

    def _check_name(self, project_id: str, name: str) -> None:
        taken = self._by_name(project_id, name) is not None
        is_late = time.monotonic() < self._name_free_at.get((project_id, name), 0.0)
        if taken or is_late:
            raise ApiError(409, self._backend.switches.conflict_code, "browser session name already exists")

    def active_count(self) -> int:
        """Return how many sessions hold a place."""
        with self._backend.signal:
            return sum(session.is_active for session in self._sessions.values())

    def sessions(self) -> list[Session]:
        """Return every session, oldest first."""
        with self._backend.signal:
            return list(self._sessions.values())

    def find(self, project_id: str, id_or_name: str, *, include_deleted: bool = False) -> Session:
        """
        Return a session of a project; by name the active one.

        :raises ApiError: 404.
        """
        with self._backend.signal:
            session = self._sessions.get(id_or_name) or self._by_name(project_id, id_or_name)
            if (
                session is None
                or session.project_id != project_id
                or not (session.is_active or include_deleted)
                or self._is_hidden(session)
            ):
                raise ApiError(404, self._backend.switches.not_found_code, "browser session not found")
            return session

    def by_token(self, session_id: str, token: str) -> Session | None:
        """Return the session whose address has a token; None if it has ended or the token is another one."""
        with self._backend.signal:
            session = self._sessions.get(session_id)
            return session if session is not None and session.is_active and session.token == token else None

    def listed(self, project_id: str, matches: Callable[[Session], bool]) -> list[Session]:
        """Return the sessions of a project that a list shows, newest first."""
        with self._backend.signal:
            found = [
                session
                for session in self._sessions.values()
                if session.project_id == project_id and not self._is_hidden(session) and matches(session)
            ]
        return found[::-1]

    def change_name(self, session: Session, name: str) -> None:
        """
        Change the name of a session; an empty one clears it.

        :raises ApiError: 409 for one that is taken.
        """
        with self._backend.signal:
            if name and name != session.name:
                self._check_name(session.project_id, name)
            session.name = name or None
            self._backend.signal.notify()

    def end(self, session: Session, cause: str) -> bool:
        """
        End a session, and all that runs in it.

        :param cause: `deleted` or `idle`.
        :return: False if it had ended before.
        """
        signal, switches = self._backend.signal, self._backend.switches
        with signal:
            if not session.is_active:
                return False
            session.end(cause, at=self._backend.clock.now(), order=next(self._order))
            if session.name:
                free_at = time.monotonic() + self._real(switches.browser_name_free_after)
                self._name_free_at[session.project_id, session.name] = free_at
            signal.notify()
        session.machine.end(keep_connections=switches.cdp_open_after_delete)
        return True

    @contextmanager
    def in_use(self, session: Session) -> Iterator[None]:
        """Keep a session awake during the block."""
        signal = self._backend.signal
        with signal:
            session.enter()
            signal.notify()
        try:
            yield
        finally:
            with signal:
                session.leave()
                signal.notify()

    def stop(self) -> None:
        """End what runs in all sessions; their records stay."""
        with self._backend.signal:
            self._is_stopping = True
            self._backend.signal.notify()
        for session in self.sessions():
            session.machine.end(keep_connections=False)

    def clear(self) -> None:
        """Forget all sessions."""
        for session in self.sessions():
            session.machine.end(keep_connections=False)
        with self._backend.signal:
            self._sessions.clear()
            self._name_free_at.clear()
            self._backend.signal.notify()

    def _real(self, seconds: float) -> float:
        real = self._backend.clock.real(seconds)
        return float("inf") if real is None else real

    def _by_name(self, project_id: str, name: str) -> Session | None:
        return next(
            (s for s in self._sessions.values() if s.is_active and s.project_id == project_id and s.name == name),
            None,
        )

    def _is_hidden(self, session: Session) -> bool:
        """Whether a session is not to be seen yet."""
        lag = self._backend.switches.browser_visible_after
        return bool(lag) and (self._backend.clock.now() - session.created) / 1e9 < self._real(lag)

    def _start_reaper(self) -> None:
        self._is_stopping = False
        if self._reaper is None or not self._reaper.is_alive():
            self._reaper = threading.Thread(target=self._reap, name="kernel-emulator-reaper", daemon=True)
            self._reaper.start()

    def _reap(self) -> None:
        """End sessions that were idle for too long."""
        signal = self._backend.signal
        while True:
            with signal:
                active = [session for session in self._sessions.values() if session.is_active]
                if self._is_stopping or not active:
                    self._reaper = None
                    return
                ends = [end for session in active if (end := session.idle_end) is not None]
            due = min(ends, default=None)
            if due is None or due > time.monotonic():
                seen = len(active), sum(session.clients for session in active)
                timeout = None if due is None else max(0.0, due - time.monotonic())
                signal.wait_until(lambda seen=seen: self._has_changed(seen), timeout)  # type: ignore[misc]
                continue
            for session in active:
                if (end := session.idle_end) is not None and end <= time.monotonic():
                    self.end(session, "idle")

    def _has_changed(self, seen: tuple[int, int]) -> bool:
        active = [session for session in self._sessions.values() if session.is_active]
        return self._is_stopping or seen != (len(active), sum(session.clients for session in active))
