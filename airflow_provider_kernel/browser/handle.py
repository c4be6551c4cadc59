"""The browser of a task, as the task's function has it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from airflow_provider_kernel._compat import mask_secrets
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.resources.browsers import flows, machine, requests
from airflow_provider_kernel.client.unset import UNSET

if TYPE_CHECKING:
    from airflow_provider_kernel.client.resources.browsers.models import BrowserSession, CommandResult, FileInfo
    from airflow_provider_kernel.hooks.kernel import KernelHook

#: Where Kernel's browsers put downloads.
DOWNLOADS = "/home/kernel/Downloads"


class KernelBrowser:
    """
    A running browser. It ends with the task.

    It keeps the id of the session alone: addresses carry tokens, so they are fetched when they are asked for, and
    masked in the task's log. Every use of a browser that has ended raises
    :class:`~airflow_provider_kernel.client.resources.browsers.errors.KernelBrowserGoneError`.

    :param session_id: the session.
    :param hook: calls Kernel.
    :param check: raises in a killed task.
    """

    def __init__(self, session_id: str, hook: KernelHook, *, check: Callable[[], object] = lambda: None) -> None:
        self.session_id = session_id
        self._hook = hook
        self._check = check

    def check(self) -> None:
        """
        Raise in a killed task. Call it now and then in code that does not use the browser for long.

        :raises KernelTaskKilledError: when the task was killed.
        """
        self._check()

    @contextmanager
    def page(self) -> Iterator[Any]:
        """
        Connect Playwright for a block of code, and give the browser's own page.

        A function of ``@task.kernel_browser`` has the page as its parameter; this one is for ``hook.browser()``,
        and for a connection that was cut.

        :raises KernelPlaywrightMissingError: without the extra ``[playwright]``.
        :raises KernelBrowserGoneError: when the browser ended in the block.
        """
        from airflow_provider_kernel.browser.failure import meaning_of
        from airflow_provider_kernel.browser.installed import require_playwright
        from airflow_provider_kernel.browser.page import Connection, connected

        require_playwright()
        connection = Connection()
        with connected(self, connection) as page:
            try:
                yield page
            except Exception as error:
                if (meaning := meaning_of(error, self, connection)) is not None:
                    raise meaning from error
                raise

    def check_active(self) -> None:
        """
        Ask Kernel whether the browser has ended.

        :raises KernelBrowserGoneError: when it has.
        """
        self._use(requests.get_browser(self.session_id))

    def execute(self, code: str, *, args: Any = UNSET, timeout: int = machine.DEFAULT_SCRIPT_SECONDS) -> Any:
        """
        Run a Playwright script in the browser's machine, and return what it returns.

        :param code: the body of a function in TypeScript or JavaScript, with ``page``, ``context`` and ``browser``.
        :param args: any JSON value; the script has it as the constant ``args``.
        :param timeout: how long it may run, 1 to 300 seconds.
        :raises KernelScriptError: when it failed.
        """
        return self._run(flows.run_script(self.session_id, code, args=args, timeout_seconds=timeout)).result

    def exec(
        self, command: str, *args: str, timeout: int = machine.DEFAULT_SCRIPT_SECONDS, **options: Any
    ) -> CommandResult:
        """
        Run a command in the browser's machine, without a shell. One that fails has an ``exit_code``.

        :param timeout: how long it may run, in seconds.
        :param options: ``cwd`` and ``env``.
        :raises KernelCommandTimeoutError: when it took longer.
        """
        flow = flows.run_command(self.session_id, command, args=args, timeout_seconds=timeout, **options)
        result: CommandResult = self._run(flow)
        return result

    def screenshot(self) -> bytes:
        """Take a picture of the screen, a PNG."""
        return bytes(self._use(machine.take_screenshot(self.session_id)))

    def download(self, path: str, to: str | os.PathLike[str], *, timeout: float = 30.0) -> Path:
        """
        Fetch a file from the browser's machine.

        :param path: the file; a name without a folder is one of the downloads.
        :param to: where to write it on the worker; into a folder under its own name.
        :param timeout: for how long to wait until it is there, in seconds: a download has its name
            when it is whole.
        :return: where it was written.
        :raises KernelNotFoundError: when it is not there in that time.
        """
        path = path if path.startswith("/") else f"{DOWNLOADS}/{path}"
        data: bytes = self._run(flows.read_file(self.session_id, path, patience=timeout))
        target = Path(to)
        if target.is_dir():
            target = target / path.rpartition("/")[2]
        target.write_bytes(data)
        return target

    def upload(self, file: str | os.PathLike[str] | bytes, path: str) -> None:
        """
        Write a file in the browser's machine.

        :param file: a file of the worker, or the contents.
        :param path: where to write it, absolute.
        """
        data = file if isinstance(file, bytes) else Path(file).read_bytes()
        self._use(machine.write_file(self.session_id, path, data))

    def downloads(self) -> list[FileInfo]:
        """List what the browser has downloaded."""
        return list(self._use(machine.list_files(self.session_id, DOWNLOADS)))

    @property
    def cdp_url(self) -> str:
        """**Secret**: where Playwright and other DevTools clients connect. Masked in the task's log."""
        return self._address("cdp_ws_url", "address for DevTools")

    @property
    def live_view_url(self) -> str:
        """
        **Secret**: a page on which to watch and use the browser. Masked in the task's log.

        :raises KernelError: for a headless browser, which has none.
        """
        return self._address("browser_live_view_url", "live view, as it is headless")

    def _address(self, field: str, what: str) -> str:
        session: BrowserSession = self._use(requests.get_browser(self.session_id))
        address = getattr(session, field)
        if not address:
            raise KernelError(f"Browser {self.session_id} has no {what}")
        mask_address(address)
        return str(address)

    def _use(self, request: Any) -> Any:
        return self._run(flows.using(self.session_id, request))

    def _run(self, flow: Any) -> Any:
        self._check()
        return self._hook.get_conn().run(flow)

    def __repr__(self) -> str:
        return f"<KernelBrowser {self.session_id}>"

    def __reduce__(self) -> Any:
        # The copy reads the connection itself; the kill of this process's task is not its concern.
        return _restored, (self.session_id, self._hook.kernel_conn_id)


def _restored(session_id: str, kernel_conn_id: str) -> KernelBrowser:
    from airflow_provider_kernel.hooks.kernel import KernelHook

    return KernelBrowser(session_id, KernelHook(kernel_conn_id))


def mask_address(address: str) -> None:
    """Let Airflow mask the token of an address in the logs of this process; without a token, all of it."""
    tokens = [part.partition("=")[2] for part in urlsplit(address).query.split("&") if part.startswith("jwt=")]
    # Few texts: with each one, Airflow compiles its pattern anew.
    mask_secrets(list(dict.fromkeys(form for text in tokens or [address] for form in (text, unquote(text)))))
