"""The links that need a browser, found while the task is deferred."""

import asyncio
import json

import pytest
from airflow.sdk.execution_time import comms
from support.invocation_trigger import cancels_are_done, needs_on_kill
from support.triggerer import task_instance

from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

BROWSERS = "/invocations/*/browsers"
DASHBOARD_KEY, LIVE_KEY = "_link_KernelDashboardLink", "_link_KernelLiveViewLink"

pytestmark = pytest.mark.usefixtures("kernel_connection")


@pytest.fixture
def wait_for_browser(kernel_emulator, start, triggerer, supervisor):
    """Run a trigger until it has fetched the browsers; return the XComs that it wrote, by key."""

    async def wait_for_browser(*, map_index=-1, count=1, **arguments):
        invocation_id = start("browsers", count=count, seconds=600)
        await asyncio.to_thread(
            kernel_emulator.wait_until, lambda: kernel_emulator.invocation(invocation_id).browsers == count
        )
        trigger = KernelInvocationTrigger(
            invocation_id=invocation_id, poll_interval=0.02, stream_logs=False, **arguments
        )
        task = await triggerer.start(trigger, task_instance(map_index=map_index))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", "/invocations/*", 3)
        kernel_emulator.finish(invocation_id)
        await task
        assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}]
        assert all(key[:2] == ("t", map_index) for key in supervisor.xcoms)
        return {key: value for (_, _, key), value in supervisor.xcoms.items()}

    return wait_for_browser


@pytest.mark.parametrize("map_index", [-1, 4])
async def test_live_view_link_is_written_and_hidden_at_the_end(
    map_index, wait_for_browser, kernel_emulator, supervisor, log
):
    written = await wait_for_browser(live_view_link=True, map_index=map_index)
    assert written == {LIVE_KEY: ""}  # hidden at the end: the worker may come late
    shown, hidden = [message.value for message in supervisor.asked if isinstance(message, comms.SetXCom)]
    assert shown.startswith("https://")
    assert hidden == ""
    assert shown not in str(log())
    assert len(kernel_emulator.requests("GET", BROWSERS)) == 1


async def test_browsers_are_not_fetched_without_a_link_that_needs_them(wait_for_browser, kernel_emulator):
    assert await wait_for_browser() == {}
    assert kernel_emulator.requests("GET", BROWSERS) == ()


async def test_dashboard_link_with_the_session_id_is_written(wait_for_browser, kernel_emulator, monkeypatch):
    connection = json.loads(kernel_emulator.airflow_connection)
    connection["extra"] = {"dashboard_url": "https://d.example/{app_name}/{session_id}"}
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))
    written = await wait_for_browser()
    assert set(written) == {DASHBOARD_KEY}
    assert written[DASHBOARD_KEY].startswith("https://d.example/demo/")
    assert written[DASHBOARD_KEY] != "https://d.example/demo/"


async def test_link_that_cannot_be_stored_does_not_fail_the_trigger(wait_for_browser, supervisor, log):
    def refuse(message):
        if isinstance(message, comms.SetXCom):
            raise ConnectionError("no")

    supervisor.hold = refuse
    assert await wait_for_browser(live_view_link=True) == {}
    told = [text for level, text in log() if level == "WARNING"]
    assert len(told) == 1
    assert told[0].startswith("Airflow did not store the link 'Kernel live view': ConnectionError in ")


async def test_live_view_that_is_no_url_does_not_fail_the_trigger(wait_for_browser, kernel_emulator):
    found = {"browsers": [{"session_id": "s", "browser_live_view_url": "https://[x"}]}
    kernel_emulator.add_fault(Fault("GET", BROWSERS, None, status=200, body=found))
    assert await wait_for_browser(live_view_link=True) == {}
    assert kernel_emulator.requests("GET", BROWSERS)


async def test_trigger_without_a_task_writes_no_link(start, triggerer, kernel_emulator, supervisor):
    trigger = KernelInvocationTrigger(
        invocation_id=start("browsers", count=1, seconds=0), poll_interval=0.02, live_view_link=True
    )
    await (await triggerer.start(trigger))
    assert kernel_emulator.requests("GET", BROWSERS) == ()
    assert supervisor.xcoms == {}


@needs_on_kill
@pytest.mark.parametrize(("stored", "left"), [(None, ""), ("https://next.example", "https://next.example")])
async def test_kill_hides_the_live_view_link_unless_the_next_try_has_stored_its_own(
    stored, left, waits, triggerer, supervisor, kernel_emulator
):
    task, _ = await waits(live_view_link=True, poll_interval=0.02, polls=3)
    key = ("t", -1, LIVE_KEY)
    assert supervisor.xcoms[key].startswith("https://")
    supervisor.xcoms[key] = stored or supervisor.xcoms[key]
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    assert supervisor.xcoms[key] == left
