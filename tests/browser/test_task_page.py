"""What the page of a task shows while it waits and afterwards: log, link, XCom and rendered templates."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

LINK = "Kernel dashboard"


@pytest.fixture
def run(ui, connection, kernel):
    """Trigger the example in the UI, and open its task; the invocation is found by being the newest."""
    known = {record.id for record in kernel.invocations}
    run_id = ui.trigger("example_kernel_deferrable")
    ui.open_task("talk")
    kernel.wait_until(lambda: any(r.id not in known for r in kernel.invocations), 60)
    (invocation,) = (r for r in kernel.invocations if r.id not in known)
    return run_id, invocation.id


def test_task_page_shows_log_link_and_results(ui, page, run, dashboard, kernel):
    _, invocation_id = run
    ui.expect_state("Success")

    # The log: what was invoked, what the invocation wrote in a group of its own, and how it ended.
    ui.wrap_log()
    expect(ui.log).to_contain_text("Invoking demo/logs, version latest")
    expect(ui.log).to_contain_text(f"Invocation {invocation_id} was accepted")
    expect(ui.log).to_contain_text(re.compile(rf"Invocation {invocation_id} succeeded after \d+\.\d s; see http"))
    expect(ui.log).not_to_contain_text("kernel | line")
    expect(ui.log).not_to_contain_text("WARNING")
    ui.screenshot("task-log-folded")
    page.get_by_text(f"Log of invocation {invocation_id}").click()
    for line in ("kernel | line 1", "kernel | line 20"):
        expect(ui.log.get_by_text(line, exact=True)).to_be_visible()
    written = kernel.invocation(invocation_id).logs
    assert len(written) == 20
    in_log = ui.log.get_by_role("link", name=dashboard.page_of(invocation_id))
    expect(in_log).to_have_attribute("href", dashboard.page_of(invocation_id))
    ui.screenshot("task-log", for_docs=True, height=1000)

    # The link leads to the page of this invocation, in a window of its own.
    ui.open_tab("Details")
    link = page.get_by_role("link", name=LINK, exact=True)
    expect(link).to_have_attribute("href", dashboard.page_of(invocation_id))
    with page.expect_popup() as opened:
        link.click()
    expect(opened.value.get_by_role("heading", name=f"Invocation {invocation_id}")).to_be_visible()
    opened.value.close()
    ui.screenshot("task-details")

    # XCom: the invocation's id, and what it returned.
    ui.open_tab("Storage")
    ui.open_tab("XCom")
    expect(ui.row("invocation_id")).to_contain_text(invocation_id)
    page.get_by_role("button", name="Expand all extra JSON").click()
    expect(ui.row("return_value")).to_contain_text('"lines": 20')
    ui.screenshot("task-xcom", for_docs=True)

    # Rendered templates: the payload as it was sent.
    ui.open_tab("Rendered Templates")
    payload = ui.row("payload")
    expect(payload).to_contain_text(re.compile(r'"lines":\s*20,\s*.*"per_second":\s*10', re.DOTALL))
    ui.screenshot("task-rendered-templates")


def test_failed_task_shows_why_and_what_to_do_at_once(ui, page, connection):
    page.set_viewport_size({"width": 1400, "height": 900})
    ui.trigger("fails")
    ui.open_task("browse")
    ui.expect_state("Failed")
    for words in ("KernelInvocationFailedError: The action failed", "What the app says is in its log lines"):
        # The page scrolls to the end of the log, and cuts lines at its right edge.
        expect(ui.log.get_by_text(words).first).to_be_in_viewport(ratio=0.9)
    ui.screenshot("failed")
