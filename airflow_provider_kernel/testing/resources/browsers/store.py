"""All browsers, without HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import secrets
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.testing.backend import new_id
from airflow_provider_kernel.testing.errors import ApiError, invalid
from airflow_provider_kernel.testing.resources.browsers.host import Host
from airflow_provider_kernel.testing.resources.browsers.machine import Machine
from airflow_provider_kernel.testing.resources.browsers.profiles import Profiles
from airflow_provider_kernel.testing.resources.browsers.reaper import Reaper
from airflow_provider_kernel.testing.resources.browsers.session import Session
from airflow_provider_kernel.testing.resources.invocations import Invocations
from airflow_provider_kernel.testing.resources.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_kernel.testing.backend import Backend
    from airflow_provider_kernel.testing.resources.browsers.record import EndCause
    from airflow_provider_kernel.testing.resources.invocations.run import Run


class SessionStore:
    """
    All sessions, and all changes of a session.

    Time passes in `settle()`: when somebody looks, and when a session is to end.

    :param backend: the clock, the switches, and the signal that guards the sessions.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._clock = backend.clock
        self.host = Host()
        self.signal = backend.signal
        self._runs = backend.room(Invocations).store
        self._order = itertools.count(1)
        self._sessions: dict[str, Session] = {}
        self.profiles = Profiles(backend.clock)
        #: Sessions that an invocation ends, and what its list of browsers has of them.
        self._tied: dict[str, tuple[Run, dict[str, Any]]] = {}
        self._teardowns: dict[Session, threading.Thread] = {}
        self._reaper = Reaper(backend.signal, self.settle, self._next_due, self._is_any_abandoned)

    def create(self, project_id: str, options: dict[str, Any], netloc: str) -> Session:
        """
        Add a session.

        :param options: the body of the request.
        :param netloc: host and port under which the client knows the emulator.
        :raises ApiError: 400 for an unknown invocation, 409 for a name that is taken, 429 over the limit, 529 if
            the switches say that capacity is exhausted.
        """
        with self.signal:
            self.settle()
            self._check_name(project_id, options.get("name"))
            self._check_capacity()
            run = self._run(project_id, options.get("invocation_id"))
            session = Session(
                id=new_id(),
                project_id=project_id,
                options=options,
                clock=self._clock,
                created=self._clock.now(),
                opened=next(self._order),
                profile=self.profiles.find(options.get("profile")),
                machine=Machine(self.host, options),
            )
            self._give_profile(session)
            self._sessions[session.id] = session
            if run is not None:
                self._tied[session.id] = (run, session.json(netloc))
                run.browsers.append(self._tied[session.id][1])
                run.browsers_opened += 1
            self._reaper.ensure()
            self.signal.notify()
        return session

    def find(self, project_id: str, id_or_name: str, *, include_deleted: bool = False) -> Session:
        """
        Return an active session of a project.

        :param include_deleted: whether to return one that has ended, too; by its ID.
        :raises ApiError: 404 if there is none.
        """
        with self.signal:
            self.settle()
            self._reaper.ensure()  # the emulator may have been stopped meanwhile
            found = self._sessions.get(id_or_name)
            if found is None or found.project_id != project_id:
                named = (s for s in self._sessions.values() if s.is_active and s.name == id_or_name)
                found = next((s for s in named if s.project_id == project_id), None)
        if found is None or not (found.is_active or include_deleted) or self._is_hidden(found):
            raise self.absent()
        return found

    def by_token(self, session_id: str, token: str | None) -> Session:
        """
        Return the active session of an address.

        :param token: the secret of that address.
        :raises ApiError: 404 if there is none, 401 if the token is that of another one.
        """
        with self.signal:
            self.settle()
            self._reaper.ensure()
            found = self._sessions.get(session_id)
        if found is None or not found.is_active:
            raise self.absent()
        if token is None or not secrets.compare_digest(found.token.encode(), token.encode(errors="replace")):
            raise ApiError(401, "unauthorized", "The jwt does not belong to this browser")
        return found

    def sessions(self) -> list[Session]:
        """Return every session, oldest first."""
        with self.signal:
            self.settle()
            return list(self._sessions.values())

    def listed(self) -> list[tuple[Session, bool]]:
        """Return what the list endpoint knows, oldest first: sessions, and whether it takes them for active."""
        moment = time.monotonic() - self._real(self._backend.switches.browser_list_lag)
        with self.signal:
            self.settle()
            known = [s for s in self._sessions.values() if s.created_real <= moment and not self._is_hidden(s)]
            return [(s, s.is_active or s.ended_real > moment) for s in known]

    def get(self, session_id: str) -> Session:
        """
        Return a session of any project.

        :raises KeyError: with the known IDs, if there is no such session.
        """
        with self.signal:
            self.settle()
            if session_id not in self._sessions:
                known = ", ".join(self._sessions) or "none"
                raise KeyError(f"no browser {session_id!r}; there are: {known}")
            return self._sessions[session_id]

    def rename(self, session: Session, name: str | None) -> None:
        """
        Change a session's name.

        :raises ApiError: 409 if it is taken.
        """
        with self.signal:
            if name and name != session.name:
                self._check_name(session.project_id, name)
            session.name = name or None
            self.signal.notify()

    def end(self, session: Session, cause: EndCause) -> bool:
        """
        End a session; the first call decides the cause.

        :return: False if it had ended before.
        """
        with self.signal:
            return self._end(session, cause, time.monotonic())

    def in_use_count(self) -> int:
        """Return how many sessions count against the limit: active ones, and those whose profile is being saved."""
        with self.signal:
            self.settle()
            return sum(
                1 for s in self._sessions.values() if s.is_active or not self._has_passed(s, self.save_seconds(s))
            )

    def save_seconds(self, session: Session) -> float:
        """Return how long the end of a session takes, in emulated seconds."""
        return self._backend.switches.profile_save_seconds if session.saves_profile else 0.0

    async def wait_for_save(self, session: Session) -> None:
        """Wait until the profile of a session that has ended is saved."""
        ends = session.ended_real + self._real(self.save_seconds(session))
        await asyncio.sleep(max(0.0, ends - time.monotonic()))

    def usage_pending(self, session: Session) -> bool:
        """Return whether the usage of a session that has ended is not final yet."""
        return not self._has_passed(session, self._backend.switches.browser_usage_after)

    @contextmanager
    def in_use(self, session: Session) -> Iterator[None]:
        """Keep a session awake during the block."""
        with self.signal:
            session.enter()
            self.signal.notify()
        try:
            yield
        finally:
            with self.signal:
                session.leave()
                self.signal.notify()

    @contextmanager
    def connected(self, session: Session) -> Iterator[asyncio.Event]:
        """Count a DevTools connection during the block; the event is set when it is to be closed."""
        event, loop = asyncio.Event(), asyncio.get_running_loop()

        def close() -> None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(event.set)

        with self.in_use(session):
            with self.signal:
                session.connections += 1
                session.closers.append(close)
                if not session.is_active:
                    close()
            try:
                yield event
            finally:
                with self.signal:
                    session.closers.remove(close)

    def close_connections(self, session: Session) -> None:
        """Close the DevTools connections of a session."""
        with self.signal:
            for close in session.closers:
                close()

    def wait_for_teardown(self, session: Session) -> None:
        """Block until the machine of a session that has ended is gone."""
        with self.signal:
            teardown = self._teardowns.get(session)
        if teardown is not None:
            teardown.join()

    def stop(self) -> None:
        """End what runs in all sessions; their records stay."""
        self._reaper.stop()
        with self.signal:
            teardowns = list(self._teardowns.values())
            for session in self._sessions.values():
                self.close_connections(session)
                if session.is_active:
                    teardowns.append(self._start_teardown(session.machine))
                    session.machine = Machine(self.host, session.options)
                    self._give_profile(session)
        for teardown in teardowns:
            teardown.join()
        self.host.close()
        with self.signal:
            self._teardowns.clear()

    def clear(self) -> None:
        """End and forget every session."""
        with self.signal:
            sessions = list(self._sessions.values())
            for session in sessions:
                self._end(session, "deleted", time.monotonic())
                self.close_connections(session)
            self._sessions.clear()
            self.profiles.clear()
            self.signal.notify()
        for session in sessions:
            self.wait_for_teardown(session)

    def _start_teardown(self, machine: Machine) -> threading.Thread:
        def run() -> None:
            machine.end()
            self.signal.notify()

        thread = threading.Thread(target=run, name="kernel-emulator-teardown", daemon=True)
        thread.start()
        return thread

    @staticmethod
    def _give_profile(session: Session) -> None:
        if session.profile is not None:
            session.machine.profile_id = session.profile["id"]
            session.machine.saves_profile = session.saves_profile

    def load_profile(self, session: Session, wanted: dict[str, Any]) -> None:
        """Give a session a profile, as PATCH does; a Chromium that runs already only saves it."""
        session.profile = self.profiles.find(wanted)
        session.options["profile"] = wanted
        self._give_profile(session)

    def _real(self, seconds: float) -> float:
        real = self._clock.real(seconds)
        return math.inf if real is None else real

    def absent(self) -> ApiError:
        """Return the 404 for a session that is not there."""
        return ApiError(404, self._backend.switches.not_found_code, "browser session not found")

    def settle(self) -> None:
        """End the sessions whose time is over; call it with the signal held."""
        now = time.monotonic()
        for session in self._sessions.values():
            if not session.is_active:
                continue
            ends = session.idle_ends
            if ends is not None and ends <= now:
                self._end(session, "idle", ends)
            elif self._is_abandoned(session):
                self._end(session, "invocation", now)

    def _end(self, session: Session, cause: EndCause, real: float) -> bool:
        if not session.is_active:
            return False
        session.end(cause, self._clock.now(), real, next(self._order))
        tied = self._tied.pop(session.id, None)
        if tied is not None:
            run, shown = tied
            run.browsers[:] = [each for each in run.browsers if each is not shown]
        if not self._backend.switches.cdp_open_after_delete:
            self.close_connections(session)
        self._teardowns[session] = self._start_teardown(session.machine)
        self.signal.notify()
        return True

    def _is_abandoned(self, session: Session) -> bool:
        """Return whether its invocation has ended it."""
        tied = self._tied.get(session.id)
        return tied is not None and all(each is not tied[1] for each in tied[0].browsers)

    def _is_any_abandoned(self) -> bool:
        return any(map(self._is_abandoned, self._sessions.values()))

    def _next_due(self) -> float | None:
        """Return when the next session is idle for too long."""
        ends = [session.idle_ends for session in self._sessions.values() if session.is_active]
        return min((end if end is not None else math.inf for end in ends), default=None)

    def _is_hidden(self, session: Session) -> bool:
        return time.monotonic() < session.created_real + self._real(self._backend.switches.browser_visible_after)

    def _has_passed(self, session: Session, seconds: float) -> bool:
        """Return whether a session has ended for so many emulated seconds."""
        if session.is_active:
            return False
        return time.monotonic() >= session.ended_real + self._real(seconds)

    def _check_capacity(self) -> None:
        switches = self._backend.switches
        if switches.capacity_exhausted:
            raise ApiError(529, switches.capacity_code, "The platform is out of capacity; try again later")
        limits = self._backend.room(Limits)
        used = limits.used
        if used is not None and used >= limits.max_concurrent_sessions:
            seconds = switches.retry_after
            headers = {} if seconds is None else {"Retry-After": str(seconds)}
            message = f"{used} browser sessions are active; the limit is {limits.max_concurrent_sessions}"
            raise ApiError(429, switches.concurrency_code, message, headers=headers)

    def _check_name(self, project_id: str, name: str | None) -> None:
        free_after = self._backend.switches.browser_name_free_after
        for session in self._sessions.values():
            taken = session.is_active or not self._has_passed(session, self.save_seconds(session) + free_after)
            if name and taken and (session.project_id, session.name) == (project_id, name):
                code = self._backend.switches.conflict_code
                raise ApiError(409, code, f"A browser session named {name!r} is active already")

    def _run(self, project_id: str, invocation_id: str | None) -> Run | None:
        if invocation_id is None:
            return None
        try:
            run = self._runs.find(project_id, invocation_id)
        except ApiError as error:
            raise invalid(f"invocation_id: {error.message}") from error
        if run.finished:
            raise invalid(f"invocation_id: invocation {invocation_id!r} has ended")
        return run
