"""Marking a task that waits as failed, by clicking: its invocation is cancelled."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

#: DAG -> what its task is while it waits.
WAITS = {"wait_on_a_worker": "Running", "wait_in_the_triggerer": "Deferred"}


@pytest.mark.parametrize("dag_id", WAITS)
def test_marked_task_has_its_invocation_cancelled(ui, page, connection, kernel, dashboard, dag_id):
    known = {record.id for record in kernel.invocations}
    ui.trigger(dag_id)
    ui.open_task("browse")
    ui.expect_state(WAITS[dag_id])
    kernel.wait_until(lambda: any(r.browsers for r in kernel.invocations if r.id not in known), 60)
    (invocation,) = (record for record in kernel.invocations if record.id not in known)
    assert invocation.status == "running"
    expect(ui.log).to_contain_text(f"Invocation {invocation.id} is running")

    # The link is there while it waits.
    ui.open_tab("Details")
    link = page.get_by_role("link", name="Kernel dashboard", exact=True)
    expect(link).to_have_attribute("href", dashboard.page_of(invocation.id))
    ui.screenshot(f"{dag_id}-before")

    ui.mark_as("Failed")

    ui.expect_state("Failed")
    kernel.wait_until(lambda: kernel.invocation(invocation.id).finished, 60)
    cancelled = kernel.invocation(invocation.id)
    assert cancelled.status == "failed"
    assert cancelled.browsers == 0
    assert cancelled.browsers_opened == 1
    ui.open_tab("Logs")
    expect(ui.log).to_contain_text(f"Invocation {invocation.id} was cancelled; it is now failed")
    ui.screenshot(f"{dag_id}-after")
