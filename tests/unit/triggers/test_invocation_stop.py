"""A stop of the triggerer."""

import pytest
from support.invocation_trigger import (
    row,
)
from support.triggerer import Triggerer, task_instance

from airflow_provider_kernel import _compat

pytestmark = pytest.mark.usefixtures("kernel_connection", "supervisor")


@pytest.mark.parametrize("stream_logs", [False, True])
async def test_stop_of_the_triggerer_changes_nothing_and_another_one_goes_on(
    stream_logs, waits, triggerer, supervisor, kernel_emulator, changes
):
    task, invocation_id = await waits(stream_logs=stream_logs)
    await triggerer.stop()
    assert task.cancelled()
    assert changes() == []
    if _compat.triggers_have_on_kill():  # else it must ask whether a user acted
        assert not [message for message in supervisor.asked if message.type == "GetTaskStates"]

    another = Triggerer()
    again = await another.start(row(invocation_id=invocation_id, stream_logs=stream_logs), task_instance())
    kernel_emulator.finish(invocation_id, output=1)
    await again
    assert another.events == [{"invocation_id": invocation_id, "status": "finished"}]
    assert changes() == []
    assert len(kernel_emulator.invocations) == 1
