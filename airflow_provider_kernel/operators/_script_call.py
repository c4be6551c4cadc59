"""
The call of a script, on a thread of its own.

The main thread only waits for it, so that a kill ends the wait at once, whether or not Kernel ends the call when
the browser is gone.
"""

from __future__ import annotations

import contextvars

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.browsers.flows import run_script
from airflow_provider_kernel.client.resources.browsers.models import ScriptResult
from airflow_provider_kernel.lifecycle.signal_safe import SignalSafeEvent, WorkerThread
from airflow_provider_kernel.operators._browser_task import BrowserTask


def call_script(config: KernelConfig, owned: BrowserTask, script: str, seconds: int) -> ScriptResult:
    """
    Run a script in the browser of a task.

    :param config: of a client of its own: the operator closes the hook's, also while a call is under way.
    :raises KernelTaskKilledError: in a killed task.
    :raises KernelScriptError: when the script failed.
    """
    is_over = SignalSafeEvent()
    context = contextvars.copy_context()  # Airflow keeps what its logging needs in it

    def call() -> ScriptResult:
        try:
            with KernelClient(config) as client:
                return client.run(run_script(owned.session_id, script, timeout_seconds=seconds))
        finally:
            is_over.set()

    thread = WorkerThread("kernel-script")
    work = thread.submit(lambda: context.run(call))
    thread.close()
    owned.on_killed(is_over.set)
    is_over.wait()
    owned.owner.check()
    return work.result()
