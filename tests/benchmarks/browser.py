"""
What ``@task.kernel_browser`` adds to a page: from ``execute`` to the first action, beside the bare official SDK.

    uv run python tests/benchmarks/browser.py [--rounds 30]

Kernel is the emulator, in a process of its own, with one Chromium that runs already and serves all sessions: what a
browser takes to start is Kernel's time, and is left out on both sides. The two take turns:

- ``SDK + Playwright``: ``Kernel().browsers.create()``, ``connect_over_cdp``, ``page.title()``; the client is kept.
- ``@task.kernel_browser``: the same in Airflow's task runner, with an owner: record, search for former browsers,
  create, publication of the id, masking, the setting for downloads.

The last line is of processes of their own: what the import of the decorator takes, of that of ``airflow.sdk``.
It ends with 1, and says which, when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from goals import Goals

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

OURS, BARE = "@task.kernel_browser", "SDK + Playwright"

#: For a process of its own: the import of Airflow's SDK, then that of the decorator. What ``@task`` itself loads is
#: there already. Without the garbage collection, which goes through all that Airflow has in memory.
IMPORTS = """
import gc, time
gc.disable()
began = time.perf_counter()
import airflow.sdk
from airflow.sdk import DAG, BaseOperator, task
sdk = time.perf_counter() - began
import airflow.providers.standard.decorators.python
began = time.perf_counter()
import airflow_provider_kernel.decorators.kernel_browser
print((time.perf_counter() - began) / sdk * 100)
"""


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--rounds", type=int, default=30, help="how often each way (%(default)s)")
    rounds = parser.parse_args().rounds
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    context.Process(target=serve, args=(theirs,), daemon=True).start()
    connection = pipe.recv()
    configure(connection)
    ways = {BARE: bare(json.loads(connection)), OURS: ours()}
    took: dict[str, list[float]] = {way: [] for way in ways}
    requests: dict[str, list[str]] = {}
    for number in range(rounds + 2):
        for way, run in ways.items():
            seconds = run()
            pipe.send("requests")
            requests[way] = pipe.recv()
            if number > 1:  # the first ones pay for what is loaded once
                took[way].append(seconds * 1000)
    for way, values in took.items():
        p90 = quantiles(values, n=10)[-1]
        print(f"{way:>22}: {median(values):6.1f} ms p50, {p90:6.1f} ms p90 to the first action")
        print(f"{'':>22}  {', '.join(requests[way])}")
    shares = [float(_run(IMPORTS)) for _ in range(5)]
    print(f"import of the decorator: {median(shares):.2f} % of that of airflow.sdk")
    pipe.send("end")
    goals = Goals()
    goals.at_most("ms to the first action above SDK + Playwright, p50", median(took[OURS]) - median(took[BARE]), 50)
    goals.at_most("import of the decorator, % of airflow.sdk", median(shares), 0.6)
    return goals.tell()


def serve(pipe: Connection) -> None:
    """Be Kernel, with one Chromium for all sessions: that of the first one, which stays."""
    from airflow_provider_kernel.client import KernelClient, KernelConfig
    from airflow_provider_kernel.client.resources.browsers.requests import create_browser
    from airflow_provider_kernel.testing import KernelEmulator
    from airflow_provider_kernel.testing.resources.browsers import Browsers
    from airflow_provider_kernel.testing.resources.browsers.machine import Machine

    with KernelEmulator() as kernel, KernelClient(KernelConfig(kernel.api_key, kernel.base_url)) as client:
        client.send(create_browser({"headless": True, "timeout_seconds": 3600}))
        shared = kernel.room(Browsers).store.sessions()[0].machine.chromium()
        Machine.chromium = lambda machine: shared  # type: ignore[method-assign]
        pipe.send(kernel.airflow_connection)
        seen = len(kernel.journal)
        while pipe.recv() != "end":
            requests = [f"{each.method} {_shape(each.path)}" for each in kernel.journal[seen:]]
            seen = len(kernel.journal)
            pipe.send(requests)


def _shape(path: str) -> str:
    """Leave out the ids."""
    return re.sub(r"/(browsers?)/[^/]+", r"/\1/{id}", path)


def configure(connection: str) -> None:
    """Give Airflow a home of its own, and the connection."""
    home = tempfile.mkdtemp(prefix="airflow-kernel-benchmark-")
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW_CONN_KERNEL_DEFAULT": connection,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }
    import structlog

    nowhere = Path(os.devnull).open("w")  # noqa: SIM115 (for as long as the process lives)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(nowhere), cache_logger_on_first_use=False)


def bare(connection: dict[str, Any]) -> Any:
    """Return what one would write by hand."""
    from kernel import Kernel
    from playwright.sync_api import sync_playwright

    client = Kernel(api_key=connection["password"], base_url=connection["host"])

    def run() -> float:
        began = time.perf_counter()
        browser = client.browsers.create(headless=True, timeout_seconds=300)
        with sync_playwright() as playwright:
            remote = playwright.chromium.connect_over_cdp(browser.cdp_ws_url)
            remote.contexts[0].pages[0].title()
            seconds = time.perf_counter() - began
        client.browsers.delete_by_id(browser.session_id)
        return seconds

    return run


def ours() -> Any:
    """Return the same as a task, in Airflow's task runner, whose calls are answered from memory."""
    from airflow.sdk import DAG
    from support.execution_api import ExecutionAPI, task_instance
    from support.in_process import run_task

    from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator

    times: dict[str, float] = {}

    class Timed(KernelBrowserTaskOperator):
        def execute(self, context: Any) -> Any:
            times["began"] = time.perf_counter()
            return super().execute(context)

    def first_action(page: Any) -> None:
        page.title()
        times["acted"] = time.perf_counter()

    def run() -> float:
        with DAG("benchmark", schedule=None):
            task = Timed(task_id="page", python_callable=first_action)
        api = ExecutionAPI()
        run_task(ti=task_instance("page", "benchmark"), task=task, client=api.client())
        return times["acted"] - times["began"]

    return run


def _run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.splitlines()[-1]


if __name__ == "__main__":
    sys.exit(main())
