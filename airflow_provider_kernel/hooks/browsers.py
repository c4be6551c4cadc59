"""The calls of ``hook.browsers``, under the names that the official SDK gives them."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.client.resources.browsers import flows, machine, requests
from airflow_provider_kernel.client.resources.browsers.options import (
    DEFAULT_START_TIMEOUT,
    browser_body,
    check_start_timeout,
)
from airflow_provider_kernel.client.resources.limits import get_limits
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.client.unset import UNSET

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow_provider_kernel.client.client import KernelClient
    from airflow_provider_kernel.client.errors import KernelError
    from airflow_provider_kernel.client.http.request import Request
    from airflow_provider_kernel.client.resources.browsers.models import (
        BrowserSession,
        CommandResult,
        FileInfo,
        Replay,
        ScriptResult,
    )

log = get_logger(__name__)

T = TypeVar("T")


def places() -> Flow[flows.Places]:
    """Fetch how many sessions the organization has, and how many it may have."""
    limits = yield from get_limits()
    return limits.concurrent_sessions_used, limits.max_concurrent_sessions


def log_wait(error: KernelError) -> None:
    log.warning("There is no place for a browser at the moment: %s. Waiting for one", error)


class KernelBrowsers:
    """
    Browsers, for code that ends what it starts: Airflow owns none of them.

    ``session_id`` may be a session's name, too, where a session is read, changed or used.

    :param client: gives the hook's client.
    """

    def __init__(self, client: Callable[[], KernelClient]) -> None:
        self._client = client

    def create(self, *, start_timeout: float | timedelta = DEFAULT_START_TIMEOUT, **options: Any) -> BrowserSession:
        """
        Start a browser. It lives until :meth:`delete_by_id`, or until it was idle for its ``idle_timeout``.

        The request is sent again only if Kernel provably did not take it.

        :param start_timeout: for how long to wait while Kernel has no place for it, in seconds.
        :param options: the arguments of
            :func:`~airflow_provider_kernel.client.resources.browsers.options.browser_body`.
        :raises KernelBrowserLimitError: when there was no place in that time.
        :raises KernelConflictError: when a browser has the ``name`` already. It is never taken for this one's.
        :raises KernelAmbiguousStartError: when Kernel may have started it, but sent no usable answer.
        """
        seconds = check_start_timeout("start_timeout", start_timeout)
        flow = flows.start_browser(browser_body(**options), start_timeout=seconds, places=places, on_wait=log_wait)
        return self._client().run(flow)

    def retrieve(self, session_id: str, *, include_deleted: bool = False) -> BrowserSession:
        """
        Fetch a session. Its addresses are secrets.

        :raises KernelNotFoundError: when there is none, or it has ended and is not asked for.
        """
        return self._client().send(requests.get_browser(session_id, include_deleted=include_deleted))

    def list(
        self, *, tags: Mapping[str, str] | None = None, query: str | None = None, status: str = "active"
    ) -> Iterator[BrowserSession]:
        """
        Iterate over sessions.

        :param tags: only those that have all of these tags with exactly these values.
        :param query: free search over name, session id, profile, proxy and pool, by parts of words.
        :param status: ``active``, ``deleted`` or ``all``.
        """
        # Each session that ends leaves the list of active ones, and moves its pages.
        first = requests.list_browsers(tags=tags, query=query, status=status)
        return self._client().pages(first, snapshot=status == "active")

    def update(self, session_id: str, **fields: Any) -> BrowserSession:
        """Change a session: its ``name``, ``tags`` (the whole set), ``proxy``, ``profile`` or ``viewport``."""
        return self._client().send(requests.update_browser(session_id, **fields))

    def delete_by_id(self, session_id: str) -> bool:
        """
        End a session, and save its profile if it was made so.

        :return: whether there was one.
        """
        return self._client().run(flows.end_browser(session_id))

    def execute(
        self, session_id: str, code: str, *, args: Any = UNSET, timeout: int = machine.DEFAULT_SCRIPT_SECONDS
    ) -> ScriptResult:
        """
        Run a Playwright script in the browser's machine.

        :param code: the body of a function in TypeScript or JavaScript, with ``page``, ``context`` and ``browser``.
        :param args: any JSON value; the script has it as the constant ``args``.
        :param timeout: how long it may run, 1 to 300 seconds.
        :raises KernelScriptError: when it failed.
        :raises KernelBrowserGoneError: when the browser has ended.
        """
        return self._client().run(flows.run_script(session_id, code, args=args, timeout_seconds=timeout))

    def exec(
        self,
        session_id: str,
        command: str,
        args: Sequence[str] = (),
        *,
        timeout: int = machine.DEFAULT_SCRIPT_SECONDS,
        **options: Any,
    ) -> CommandResult:
        """
        Run a command in the browser's machine, without a shell. One that fails has an ``exit_code``.

        :param timeout: how long it may run, in seconds.
        :param options: ``cwd`` and ``env``.
        :raises KernelCommandTimeoutError: when it took longer.
        """
        flow = flows.run_command(session_id, command, args=args, timeout_seconds=timeout, **options)
        return self._client().run(flow)

    def screenshot(self, session_id: str) -> bytes:
        """Take a picture of the screen, a PNG."""
        return self._use(session_id, machine.take_screenshot(session_id))

    def read_file(self, session_id: str, path: str) -> bytes:
        """Read a file of the browser's machine; its downloads are in ``/home/kernel/Downloads``."""
        return self._use(session_id, machine.read_file(session_id, path))

    def write_file(self, session_id: str, path: str, data: bytes) -> None:
        """Write a file in the browser's machine."""
        self._use(session_id, machine.write_file(session_id, path, data))

    def list_files(self, session_id: str, path: str) -> builtins.list[FileInfo]:
        """List a folder of the browser's machine."""
        return self._use(session_id, machine.list_files(session_id, path))

    def upload(self, session_id: str, files: Mapping[str, bytes]) -> None:
        """Write files in the browser's machine, by path."""
        self._use(session_id, machine.upload_files(session_id, files))

    def download_folder(self, session_id: str, path: str) -> bytes:
        """Fetch a folder of the browser's machine as a ZIP file."""
        return self._use(session_id, machine.download_folder(session_id, path))

    def start_replay(
        self, session_id: str, *, framerate: int | None = None, max_seconds: int | None = None
    ) -> Replay:
        """Start a recording; of sessions with a screen only."""
        request = machine.start_replay(session_id, framerate=framerate, max_seconds=max_seconds)
        return self._use(session_id, request)

    def list_replays(self, session_id: str) -> builtins.list[Replay]:
        """List the recordings of a session, which may have ended."""
        return self._client().send(machine.list_replays(session_id))

    def stop_replay(self, session_id: str, replay_id: str) -> None:
        """Stop a recording. Stop it before the session ends."""
        self._client().send(machine.stop_replay(session_id, replay_id))

    def download_replay(self, session_id: str, replay_id: str, *, patience: float = 0.0) -> bytes | None:
        """
        Fetch a recording, an MP4 file.

        :param patience: for how long to wait until Kernel has prepared it, in seconds.
        :return: ``None`` if it is not ready in that time.
        """
        return self._client().run(flows.download_replay(session_id, replay_id, patience=patience))

    def _use(self, session_id: str, request: Request[T]) -> T:
        return self._client().run(flows.using(session_id, request))
