"""The operator for a Playwright script that runs in the browser's machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_kernel.arguments import check_arguments
from airflow_provider_kernel.browser_arguments import TEMPLATED
from airflow_provider_kernel.client.resources.browsers.options import (
    DEFAULT_SCRIPT_SECONDS,
    check_code,
    check_script_seconds,
    check_start_timeout,
)
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.operators._browser_options import TakesBrowserOptions
from airflow_provider_kernel.operators.base import KernelBaseOperator
from airflow_provider_kernel.validation import (
    DEFAULT_MAX_LOG_LINES,
    DEFAULT_MAX_OUTPUT_BYTES,
    DEFAULT_OUTPUT_AS,
    OutputAs,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.client.resources.browsers.models import ScriptResult
    from airflow_provider_kernel.operators._browser_task import BrowserTask


class KernelPlaywrightOperator(KernelBaseOperator, TakesBrowserOptions):
    """
    Run a Playwright script in the machine of a browser of its own, and return what the script returns.

    The script is the body of a function, in TypeScript or JavaScript, with ``page``, ``context`` and ``browser``;
    what it returns is any JSON value. The worker needs no Playwright, and connects to no browser. The task owns the
    browser: however it ends (success, error, timeout, kill, mark, clear), the browser is ended.

    A script is sent once: one that throws, or whose answer gets lost, fails the task, and a retry runs it from its
    start, in a new browser. What it has printed is in the task's log.

    :param code: the script, or the path of a file that ends in ``.ts`` or ``.js`` (templated). Give values as
        ``args``, not by a template: a template knows nothing of quotes. A script with ``{{`` in it is one for
        Airflow's ``literal()``.
    :param args: any JSON value; the script has it as the constant ``args`` (templated). ``None``: no constant.
    :param timeout: how long the script may run, 1 to 300 seconds: Kernel's own limit.
    :param max_log_lines: how many lines that the script has printed to log at most.
    :param max_output_bytes: the largest result to put into XCom; a larger one fails the task.
    :param output_as: ``"json_text"`` puts the result into XCom as JSON text, which always works. ``"value"`` fails
        the task without a retry if XCom would not give the result back as it is.
    :param headless: whether the browser has no screen: an eighth of the price, but no live view and no replay.
    :param stealth: whether it has Kernel's measures against bot detection, and its proxy.
    :param profile: the name, or ``{"id": "..."}``, of the profile whose cookies to load (templated).
    :param save_profile: whether the profile is overwritten when the browser ends, however the task ends.
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

    template_fields: Sequence[str] = ("code", "args", *TEMPLATED, "kernel_conn_id")
    template_ext: Sequence[str] = (".ts", ".js")
    template_fields_renderers: ClassVar[dict[str, str]] = {"args": "json"}
    ui_color = "#cfe6ea"

    def __init__(
        self,
        *,
        code: str,
        args: Any = None,
        timeout: int = DEFAULT_SCRIPT_SECONDS,
        max_log_lines: int = DEFAULT_MAX_LOG_LINES,
        max_output_bytes: int = DEFAULT_MAX_OUTPUT_BYTES,
        output_as: OutputAs = DEFAULT_OUTPUT_AS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.code = code
        self.args = args
        self.timeout = timeout
        self.max_log_lines = max_log_lines
        self.max_output_bytes = max_output_bytes
        self.output_as = output_as
        check_arguments(self, default_args=kwargs.get("default_args"))

    def run_with_hook(self, context: Context) -> Any:
        """
        Start the browser, run the script, end the browser.

        :return: what the script has returned.
        :raises KernelScriptError: when the script failed.
        :raises KernelBrowserLimitError: when Kernel had no place for the browser.
        :raises KernelTaskKilledError: when the task was killed meanwhile.
        :raises KernelOutputError: when the result cannot be put into XCom.
        """
        from airflow_provider_kernel.client.resources.browsers.flows import with_args
        from airflow_provider_kernel.operators._browser_task import own_browser

        # Before there is a browser: it may be refused.
        script = with_args(check_code("code", self.code), UNSET if self.args is None else self.args)
        seconds = check_script_seconds("timeout", self.timeout)
        start_timeout = check_start_timeout("start_timeout", self.start_timeout)
        with own_browser(self, context, self.browser_body(), start_timeout=start_timeout) as owned:
            result = self._run_script(owned, script, seconds)
        return self._hand_on(result, context)

    def on_kill(self) -> None:
        """End the browser, and the wait for the script. Runs in a signal handler."""
        self._kill_runs()

    def _run_script(self, owned: BrowserTask, script: str, seconds: int) -> ScriptResult:
        from airflow_provider_kernel.client.resources.browsers.errors import KernelScriptError
        from airflow_provider_kernel.operators._script_call import call_script
        from airflow_provider_kernel.task_log.script import log_script_output

        self.log.info("Running the script, for %d s at most", seconds)
        try:
            result = call_script(self.hook.config, owned, script, seconds)
        except KernelScriptError as error:
            log_script_output(self.log, error.result, max_lines=self.max_log_lines)
            raise
        log_script_output(self.log, result, max_lines=self.max_log_lines)
        return result

    def _hand_on(self, result: ScriptResult, context: Context) -> Any:
        from airflow_provider_kernel.client.resources.invocations.errors import KernelOutputError
        from airflow_provider_kernel.operators._success import find_refusal
        from airflow_provider_kernel.xcom import hand_on_result

        value = hand_on_result(
            result.result,
            max_output_bytes=self.max_output_bytes,
            output_as=self.output_as,
            is_pushed=self.do_xcom_push,
            multiple_outputs=self.multiple_outputs,
            is_mapped_over=self.is_mapped_over(context["ti"]),
        )
        if (refusal := find_refusal(self, context)) is not None:
            raise KernelOutputError(f"The script succeeded, but Airflow refuses that: {refusal}")
        return value
