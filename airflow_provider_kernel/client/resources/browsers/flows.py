"""
What takes more than one request, written once for both clients.

See :mod:`airflow_provider_kernel.client.flow` for what a flow is and how a client carries it out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelConflictError,
    KernelConnectionError,
    KernelError,
    KernelInputError,
    KernelNotFoundError,
    KernelServerError,
)
from airflow_provider_kernel.client.flow import Flow, Sleep
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.resources.browsers import machine, requests
from airflow_provider_kernel.client.resources.browsers.errors import (
    KernelBrowserGoneError,
    KernelBrowserLimitError,
    KernelCommandTimeoutError,
    KernelScriptError,
)
from airflow_provider_kernel.client.resources.browsers.models import BrowserSession, CommandResult, ScriptResult
from airflow_provider_kernel.client.resources.browsers.options import DEFAULT_START_TIMEOUT
from airflow_provider_kernel.client.retry import Resend, may_have_acted, pause_after, was_refused
from airflow_provider_kernel.client.unset import UNSET, Unset
from airflow_provider_kernel.client.validation import is_unicode

T = TypeVar("T")

#: How many sessions the organization has, and how many it may have; ``None`` for what is not known.
Places = tuple[int | None, int | None]

#: The first pause before the next create, and the longest.
_PAUSES = (1.0, 15.0)
#: Between two looks for a file.
_FILE_PAUSE = 0.25
#: Between two looks for a recording, where Kernel does not say when to look.
_REPLAY_PAUSE = 1.0


def start_browser(
    body: Mapping[str, Any],
    *,
    start_timeout: float = DEFAULT_START_TIMEOUT,
    places: Callable[[], Flow[Places]] | None = None,
    on_wait: Callable[[KernelError], None] = lambda error: None,
    mark: Mapping[str, str] | None = None,
) -> Flow[BrowserSession]:
    """
    Start a browser, never twice; while Kernel has no place for it, or refuses connections, wait.

    A 409 for the body's own ``name`` means that an earlier create was taken whose answer got lost, if the browser
    that has the name has the tags of the ``mark``, too. Then that one is returned. Without a mark, a browser that
    has the name is somebody else's, whatever its tags.

    :param start_timeout: for how long to wait for a place, in seconds.
    :param places: fetches what to say about the limit.
    :param on_wait: called before each pause.
    :param mark: those of the body's tags that no other start gives.
    :raises KernelBrowserLimitError: when there was no place in that time. Nothing was started.
    :raises KernelConflictError: when another browser has the name.
    :raises KernelAmbiguousStartError: when Kernel may have started it although no usable answer came.
    """
    ends_at = time.monotonic() + start_timeout
    pause = _PAUSES[0]
    # The attempts are made here, within the one limit.
    request = replace(requests.create_browser(body), resend=Resend.NEVER)
    while True:
        try:
            return (yield from request)
        except KernelConflictError as error:
            own = yield from _own(body.get("name"), mark, error)
            if own is not None:
                return own
            problem: KernelError = error
        except KernelError as error:
            if may_have_acted(error):
                raise KernelAmbiguousStartError(f"Whether the browser was started is unknown: {error}") from error
            if not was_refused(error):
                raise
            problem = error
        seconds = pause_after(problem, pause)
        if time.monotonic() + seconds > ends_at:
            if isinstance(problem, (KernelConflictError, KernelConnectionError)):
                raise problem
            raise (yield from _no_place(problem, start_timeout, places)) from problem
        on_wait(problem)
        yield Sleep(seconds)
        pause = min(pause * 2, _PAUSES[1])


def _own(name: Any, mark: Mapping[str, str] | None, conflict: KernelConflictError) -> Flow[BrowserSession | None]:
    """Return the browser that has the name, if it is this start's own; ``None`` if the name is about to be free."""
    if not name:
        raise conflict
    try:
        found = yield from requests.get_browser(str(name))
    except KernelNotFoundError as error:
        if error.says_absent:
            return None
        raise KernelAmbiguousStartError(f"Whose browser {name} is cannot be found out: {error}") from error
    except KernelError as error:
        raise KernelAmbiguousStartError(f"Whose browser {name} is cannot be found out: {error}") from error
    if mark and found.name == name and has_tags(found, mark):
        return found
    raise conflict


def _no_place(
    problem: KernelError, start_timeout: float, places: Callable[[], Flow[Places]] | None
) -> Flow[KernelBrowserLimitError]:
    used: int | None = None
    allowed: int | None = None
    if places is not None:
        try:
            used, allowed = yield from places()
        except KernelError:
            used = allowed = None  # it only informs: what failed is the create
    problem.advice = None  # that of every other 429 or 529: the limit's own says more
    known = "" if used is None or allowed is None else f"; {used} of {allowed} sessions are in use"
    return KernelBrowserLimitError(
        f"Kernel had no place for a browser within {start_timeout:g} s{known}: {problem}",
        used=used,
        allowed=allowed,
    )


def has_tags(found: BrowserSession, tags: Mapping[str, str]) -> bool:
    """Return whether a browser has all of some tags."""
    return all((found.tags or {}).get(key) == value for key, value in tags.items())


def end_browser(id_or_name: str) -> Flow[bool]:
    """
    End a browser.

    :return: whether there was one; a 404 about the project or from something on the way does not say so.
    :raises KernelError: when it may live on.
    """
    try:
        yield from requests.delete_browser(id_or_name)
    except KernelNotFoundError as error:
        if not error.says_absent:
            raise
        return False
    return True


def find_ended(session_id: str) -> Flow[BrowserSession | None]:
    """Return a session with its end and its use, if it has ended and Kernel still shows it."""
    try:
        found = yield from requests.get_browser(session_id, include_deleted=True)
    except KernelNotFoundError as error:
        if not error.says_absent:
            raise
        return None
    return found if found.has_ended else None


def gone(session_id: str) -> Flow[KernelBrowserGoneError]:
    """Build the error that tells what Kernel knows of a browser that has ended."""
    try:
        session = yield from find_ended(session_id)
    except KernelError:
        session = None  # it only informs
    return KernelBrowserGoneError(session_id, session)


def using(session_id: str, request: Request[T]) -> Flow[T]:
    """
    Carry out what uses a browser.

    :raises KernelBrowserGoneError: when the browser has ended.
    """
    try:
        return (yield from request)
    except KernelNotFoundError as error:
        if not error.says_absent:
            raise
        try:
            yield from requests.get_browser(session_id)
        except KernelNotFoundError as absent:
            if absent.says_absent:
                raise (yield from gone(session_id)) from error
        raise  # it is there: a file is missing, for example


def read_file(session_id: str, path: str, *, patience: float = 0.0) -> Flow[bytes]:
    """
    Read a file of the browser's machine.

    :param patience: for how long to wait until it is there, in seconds: a download has its name when it is whole.
    :raises KernelNotFoundError: when it is not there in that time.
    :raises KernelBrowserGoneError: when the browser has ended.
    """
    ends_at = time.monotonic() + patience
    while True:
        try:
            return (yield from using(session_id, machine.read_file(session_id, path)))
        except KernelNotFoundError:
            if time.monotonic() + _FILE_PAUSE > ends_at:
                raise
        yield Sleep(_FILE_PAUSE)


def download_replay(session_id: str, replay_id: str, *, patience: float = 0.0) -> Flow[bytes | None]:
    """
    Fetch a recording, an MP4 file.

    :param patience: for how long to wait until Kernel has prepared it, in seconds.
    :return: ``None`` if it is not ready in that time.
    """
    ends_at = time.monotonic() + patience
    while isinstance(found := (yield from machine.download_replay(session_id, replay_id)), machine.Pending):
        pause = max(_REPLAY_PAUSE, found.retry_after or 0.0)
        if time.monotonic() + pause > ends_at:
            return None
        yield Sleep(pause)
    return found


def run_script(
    session_id: str,
    code: str,
    *,
    args: Any | Unset = UNSET,
    timeout_seconds: int = machine.DEFAULT_SCRIPT_SECONDS,
) -> Flow[ScriptResult]:
    """
    Run a Playwright script in the browser's machine.

    :param args: any JSON value, which the script has as the constant ``args``.
    :raises KernelScriptError: when it failed.
    :raises KernelBrowserGoneError: when the browser has ended.
    """
    request = machine.execute_playwright(session_id, with_args(code, args), timeout_seconds=timeout_seconds)
    result = yield from using(session_id, request)
    if not result.success:
        raise KernelScriptError(result)
    return result


def run_command(
    session_id: str, command: str, *, args: Sequence[str] = (), timeout_seconds: int, **options: Any
) -> Flow[CommandResult]:
    """
    Run a command in the browser's machine. A command that fails has an ``exit_code``, and raises nothing.

    :raises KernelCommandTimeoutError: when it took longer than ``timeout_seconds``.
    :raises KernelBrowserGoneError: when the browser has ended.
    """
    request = machine.exec_command(session_id, command, args=args, timeout_seconds=timeout_seconds, **options)
    try:
        result = yield from using(session_id, request)
    except KernelServerError as error:
        # Kernel answers with 500 for a command whose time is over, and for one that cannot be started. A proxy
        # whose own time is over has another status, and the command goes on.
        if error.status_code == 500 and "timed out" in (error.message or "").lower():
            raise KernelCommandTimeoutError(
                f"The command took longer than {timeout_seconds} s, and was killed: {error}"
            ) from error
        raise
    return result


def with_args(code: str, args: Any | Unset) -> str:
    """
    Put a value in front of a script, as the constant ``args``.

    It is one JSON literal on the script's first line, so that the numbers of its lines stay. JSON in ASCII is
    JavaScript with the same value, but for a key ``__proto__``, so that is read by ``JSON.parse``.

    :raises KernelInputError: for what JSON cannot hold.
    """
    if isinstance(args, Unset):
        return code
    try:
        text = json.dumps(args, allow_nan=False, ensure_ascii=True)
        is_text = is_unicode(json.dumps(args, allow_nan=False, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise KernelInputError(f"args takes a value that JSON can hold: {error}") from None
    if not is_text:
        raise KernelInputError("args holds half a surrogate pair, which is no text")
    return f"const args = JSON.parse({json.dumps(text)}); {code}"
