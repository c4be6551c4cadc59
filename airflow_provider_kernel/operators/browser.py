"""The operator whose function has a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.python import PythonOperator

from airflow_provider_kernel._compat import RUNS_ASYNC_TASKS, AirflowTaskTimeout
from airflow_provider_kernel.arguments import check_arguments
from airflow_provider_kernel.browser.filling import filled_of, filling, is_async, refuse_given, without_filled
from airflow_provider_kernel.browser.installed import INSTALL, has_playwright, require_playwright
from airflow_provider_kernel.browser_arguments import TEMPLATED
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.resources.browsers.options import check_start_timeout
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.connection_form import DEFAULT_CONN_ID
from airflow_provider_kernel.operators._browser_options import TakesBrowserOptions
from airflow_provider_kernel.operators.base import KernelClientMixin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_provider_kernel.browser.handle import KernelBrowser
    from airflow_provider_kernel.browser.page import Connection


log = get_logger(__name__)


class KernelBrowserTaskOperator(KernelClientMixin, TakesBrowserOptions, PythonOperator):
    """
    Run a Python function with a browser that ends with the task. ``@task.kernel_browser`` is its decorator.

    The function's parameters ``browser`` and ``page`` are filled: ``browser`` with a
    :class:`~airflow_provider_kernel.browser.handle.KernelBrowser`, ``page`` with Playwright's page of it, which
    needs the extra ``[playwright]`` on the worker, but no browser there. It is the browser's own page, with the
    logins of its ``profile``. A function that is ``async`` gets the page of Playwright's API for event loops, from
    Airflow 3.2 on. Files that the page downloads are in ``/home/kernel/Downloads`` of the browser's machine, under
    their own names; ``browser.download(name, to)`` fetches one.

    The task owns the browser. However it ends (it returns, raises, runs into its ``execution_timeout``, is killed,
    marked or cleared), the browser is ended, and code that waits for the page stops. It is started exactly once:
    the browser has a name of this try alone, and one that an earlier try has left is ended first. Code that does
    not use the browser for long calls ``browser.check()`` now and then, which raises in a killed task.

    With ``save_profile=True`` the profile is overwritten when the browser ends, **however the task ends**: Kernel
    has no end without it. A failed or killed task saves what it has left, such as a half-done login. Two tasks that
    save one profile at the same time overwrite each other: give them an Airflow pool of one slot.

    :param python_callable: the function.
    :param op_args: its positional arguments, without ``browser`` and ``page`` (templated).
    :param op_kwargs: its named arguments, as for ``PythonOperator`` (templated).
    :param templates_dict: its ``templates_dict``, as for ``PythonOperator`` (templated).
    :param headless: whether it has no screen: an eighth of the price, but no live view and no replay.
    :param stealth: whether it has Kernel's measures against bot detection, and its proxy.
    :param profile: the name, or ``{"id": "..."}``, of the profile whose cookies to load (templated).
    :param save_profile: whether the profile is overwritten when the browser ends.
    :param proxy: a name, ``{"id": "..."}`` or ``{"mode": "direct"}`` (templated).
    :param viewport: the size of its window, ``(width, height)`` (templated).
    :param extensions: stored extensions to load, names or ids (templated).
    :param region: where it runs (templated).
    :param start_url: what it opens, without waiting for it (templated).
    :param allowed_hosts: the only hosts that it may reach, such as ``["*.example.com"]``; empty: all (templated).
    :param idle_timeout: after how long without a client Kernel ends it, in seconds or as a ``timedelta``: the last
        backstop, for when nothing of Airflow is left to end it (templated).
    :param tags: your own labels, beside those that say which task owns it (templated).
    :param start_timeout: for how long to wait while Kernel has no place for it, in seconds or as a ``timedelta``.
        Then the task fails, and is retried.
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    #: The kind of object that a task owns; the safety net finds it by this name.
    owned_kind: ClassVar[str] = "browser"

    template_fields: Sequence[str] = (*PythonOperator.template_fields, *TEMPLATED, "kernel_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {**PythonOperator.template_fields_renderers}
    ui_color = "#dbe7f6"
    ui_fgcolor = "#1a1a1a"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Sequence[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        kernel_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        if callable(python_callable):
            python_callable = without_filled(python_callable)
            refuse_given(python_callable, op_kwargs or {}, how="given")
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)
        self.kernel_conn_id = kernel_conn_id
        check_function(python_callable)
        check_arguments(self)

    def execute(self, context: Context) -> Any:
        """
        Start the browser, run the function, end the browser.

        :raises KernelTaskKilledError: when the task was killed meanwhile.
        :raises KernelBrowserLimitError: when Kernel had no place for the browser.
        :raises KernelBrowserGoneError: when the browser ended while the function used it.
        """
        from airflow_provider_kernel.browser.handle import KernelBrowser
        from airflow_provider_kernel.browser.page import Connection
        from airflow_provider_kernel.operators._browser_task import own_browser

        self._begin_run()
        given = self.op_kwargs
        with self.calling_kernel(runs_code_of_users=True):
            if self._takes_page:
                require_playwright()
            connection = Connection()
            timeout = check_start_timeout("start_timeout", self.start_timeout)
            try:
                with own_browser(
                    self, context, self.browser_body(), start_timeout=timeout, on_killed=[connection.end]
                ) as owned:
                    browser = KernelBrowser(owned.session.session_id, self.hook, check=owned.owner.check)
                    address = owned.session.cdp_ws_url
                    self._use = _Use(browser, connection, address, is_killed=lambda: owned.was_killed)
                    if self._takes_page and not self._is_async:
                        with self._use.page():
                            return super().execute(context)
                    with filling(browser=browser):
                        return super().execute(context)
            finally:
                # PythonOperator keeps the context in them, which the function would get in the next run, too.
                self.op_kwargs = given
                for name in ("_use", "_PythonOperator__prepare_execution"):
                    vars(self).pop(name, None)

    async def aexecute(self, context: Context) -> Any:
        """Run an ``async`` function, with the page of Playwright's API for event loops."""
        if not self._takes_page:
            return await super().aexecute(context)  # type: ignore[no-untyped-call]
        async with self._use.apage():
            return await super().aexecute(context)  # type: ignore[no-untyped-call]

    def on_kill(self) -> None:
        """End the browser, and then the connection to it. Runs in a signal handler."""
        self._kill_runs()

    @property
    def _takes_page(self) -> bool:
        return "page" in filled_of(self.python_callable)

    @property
    def _is_async(self) -> bool:
        return is_async(self.python_callable)

    def __getstate__(self) -> Any:
        state = super().__getstate__()
        state.pop("_use", None)
        return state


class _Use:
    """
    The use of a browser by a function: fills its parameters, and says what its errors mean.

    :param address: where to connect, as the answer to the create says.
    :param is_killed: whether the task was killed: then its end says enough.
    """

    def __init__(
        self,
        browser: KernelBrowser,
        connection: Connection,
        address: str | None,
        *,
        is_killed: Callable[[], bool],
    ) -> None:
        self._browser = browser
        self._connection = connection
        self._address = address
        self._is_killed = is_killed

    @contextmanager
    def page(self) -> Iterator[None]:
        """Connect to the browser for the block."""
        from airflow_provider_kernel.browser.page import connected
        from airflow_provider_kernel.browser.report import PageReport

        with connected(self._browser, self._connection, address=self._address) as page:
            report = PageReport(page)
            try:
                with filling(browser=self._browser, page=page):
                    yield
            except (Exception, AirflowTaskTimeout) as error:
                if self._explain(error):
                    report.log(give_up=self._connection.end)
                raise

    @asynccontextmanager
    async def apage(self) -> AsyncIterator[None]:
        """Do what :meth:`page` does, in an event loop."""
        from airflow_provider_kernel.browser.page import aconnected
        from airflow_provider_kernel.browser.report import PageReport

        async with aconnected(self._browser, self._connection, address=self._address) as page:
            report = PageReport(page)
            try:
                with filling(browser=self._browser, page=page):
                    yield
            except (Exception, AirflowTaskTimeout) as error:
                if self._explain(error):
                    await report.alog()
                raise

    def _explain(self, error: BaseException) -> bool:
        """
        Raise what an error of Playwright means, if the browser is gone or the connection to it.

        :return: whether the page can say more: not after a kill, nor in a process that was forked from the task's.
        """
        from airflow_provider_kernel.browser.failure import meaning_of

        if self._is_killed() or self._connection.is_of_another_process:
            return False
        if (meaning := meaning_of(error, self._browser, self._connection)) is not None:
            raise meaning from error
        return True


def check_function(function: Any) -> None:
    """
    Refuse a function that cannot run here; warn of one that may not run where the tasks do.

    :raises KernelInputError: for an ``async`` function on an Airflow that runs none.
    """
    if not RUNS_ASYNC_TASKS and is_async(function):
        raise KernelInputError(
            f"{function.__name__} is async, which Airflow runs from version 3.2 on. Write it without async, or "
            "upgrade Airflow"
        )
    if "page" in filled_of(function) and not has_playwright():
        log.warning(
            "%s takes a page, and Playwright is not installed here. Where the task runs it needs it: %s",
            function.__name__,
            INSTALL,
        )
