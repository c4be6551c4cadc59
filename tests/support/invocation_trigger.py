"""What the tests of the invocation's trigger share: its row, its requests, and a kill that takes long."""

import asyncio
import sys

import pytest

from airflow_provider_kernel import _compat
from airflow_provider_kernel.lifecycle import trigger as owning_trigger
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

EVENTS = "/invocations/*/events"
ANY = "/invocations/*"
BROWSERS = "/invocations/*/browsers"

#: Whether the triggerer lets go of a trigger, with its second cancellation, while the cancel is still under way.
#: From Python 3.12 on, ``asyncio.wait_for`` runs ``on_kill`` in the trigger's own task, and the triggerer waits for
#: it; before Airflow 3.3, it is ``run`` that sends the cancel.
LETS_GO = sys.version_info < (3, 12) and _compat.triggers_have_on_kill()

needs_on_kill = pytest.mark.needs_airflow(
    "3.3", "before, a trigger cannot know that a user acted, and in doubt it leaves the invocation"
)


def row(**arguments):
    return KernelInvocationTrigger(
        **{"invocation_id": "i", "poll_interval": 0.02, "stream_logs": False, **arguments}
    )


async def killed_but_not_done(triggerer, task):
    """Kill a trigger whose cancel is held; return what to await once it goes on."""
    killing = asyncio.create_task(triggerer.kill(task))
    while not owning_trigger._ends:  # noqa: ASYNC110 (nothing to wait on)
        await asyncio.sleep(0)
    if LETS_GO:
        await killing
    assert owning_trigger._ends
    return killing


async def cancels_are_done():
    """Wait for the cancels: the triggerer ends a trigger although its cancel is still under way."""
    while owning_trigger._ends:
        await asyncio.wait(owning_trigger._ends)
