"""
The calls to Airflow's API of a task that succeeds, one by one, in both processes of one that defers.

The docs give each with its reason; this test names the one that is too many.
"""

import asyncio
import json
import re
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from support.classes import load_class
from support.task_process import run_task

from airflow_provider_kernel.hooks.kernel import KernelHook

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))
from airflow_calls import CALLS, MODES, OF_AIRFLOW

LINK = "POST xcoms/…/_link_KernelDashboardLink"
MOST = 6
TEMPLATES = {
    "no link": None,
    "link": "https://d.example/{app_name}/{invocation_id}",
    "link to the browser": "https://d.example/{session_id}",
}

pytestmark = pytest.mark.needs_airflow("3.3", "before, there is no store for what a task remembers")


def expected(mode, template):
    """The calls of one mode, by the docs."""
    calls = Counter(call.request for call in CALLS if mode in call.modes)
    if template != "link":
        calls.pop(LINK, None)
    return calls


def name(method, path):
    path = re.sub(r"^/store/ti/[^/]+/", "store/ti/…/", path)
    path = re.sub(r"^/xcoms/(?:[^/]+/){3}", "xcoms/…/", path)
    return f"{method} {path.removeprefix('/')}"


def calls(api, *, pushes):
    """What the task itself has called: neither Airflow's own calls nor its push of a link, once a process."""
    own = [name(m, path) for m, path in api.requests if path.rsplit("/", 1)[-1] not in OF_AIRFLOW]
    found = Counter(own)
    assert found[LINK] >= pushes
    found[LINK] -= pushes
    return +found


def check(found, wanted):
    assert not found - wanted, f"too many calls to Airflow: {', '.join((found - wanted).elements())}"
    assert not wanted - found, f"the docs say more: {', '.join((wanted - found).elements())}"


@pytest.fixture
def set_template(kernel_emulator, kernel_connection, monkeypatch):
    def set_template(template):
        connection = json.loads(kernel_emulator.airflow_connection)
        if TEMPLATES[template]:
            connection["extra"] = {**connection.get("extra", {}), "dashboard_url": TEMPLATES[template]}
        monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))

    return set_template


@pytest.fixture
def ends(kernel_emulator):
    """Let the invocations of the tests end."""
    ends = threading.Event()

    def count(ctx, payload=None):
        while not ends.is_set() and not ctx.wait(0.01):
            pass
        return {"count": 1}

    kernel_emulator.register("demo", "count", count)
    return ends


@pytest.fixture
def run(execution_api, ends):
    def run(mode):
        if mode.startswith("sensor"):
            with KernelHook() as hook:
                execution_api.conf = {"kernel_invocation_id": hook.invoke("demo", "count").id}

        def act(task):
            if not mode.endswith("deferrable"):
                ends.set()

        run_task(execution_api, mode, dag_id="calls", file="calls.py", act=act)

    return run


@pytest.fixture
def resume(execution_api, ends):
    """Run the trigger that a task has deferred with, and let the task go on."""

    def resume(mode):
        defer = execution_api.states.pop()
        assert defer["state"] == "deferred"
        trigger = load_class(defer["classpath"])(**defer["trigger_kwargs"])
        ends.set()

        async def fire():
            return [event.payload async for event in trigger.run()]

        (event,) = asyncio.run(fire())
        execution_api.next_method, execution_api.next_kwargs = defer["next_method"], {"event": event}
        execution_api.requests.clear()
        run_task(execution_api, mode, dag_id="calls", file="calls.py")

    return resume


@pytest.mark.parametrize("mode", MODES)
def test_table_has_no_more_calls_than_the_goal(mode):
    assert expected(mode, "link").total() <= MOST


@pytest.mark.parametrize("template", ["no link", "link"])
@pytest.mark.parametrize("mode", MODES)
def test_task_makes_the_calls_that_the_docs_give_reasons_for(
    mode, template, run, resume, execution_api, set_template
):
    set_template(template)
    pushes = int(template == "link")
    run(mode)
    check(calls(execution_api, pushes=pushes), expected(mode, template))
    if mode.endswith("deferrable"):
        resume(mode)
        check(calls(execution_api, pushes=pushes), Counter())
    assert execution_api.final_state == "success"
    link = execution_api.xcoms.get("_link_KernelDashboardLink")
    assert link.startswith("https://d.example/demo/") if template == "link" else link is None


def test_link_that_names_a_browser_costs_a_deferred_task_one_more_call_in_each_process(
    run, resume, execution_api, set_template
):
    """The trigger may have stored it: this is the only case in which a process asks for what is stored."""
    set_template("link to the browser")
    run("invoke_deferrable")
    asked = Counter(["GET xcoms/…/_link_KernelDashboardLink"])
    check(calls(execution_api, pushes=1), expected("invoke_deferrable", "no link") + asked)
    execution_api.xcoms["_link_KernelDashboardLink"] = "https://d.example/of-the-trigger"
    resume("invoke_deferrable")
    check(calls(execution_api, pushes=1), asked)
    assert execution_api.xcoms["_link_KernelDashboardLink"] == "https://d.example/of-the-trigger"
