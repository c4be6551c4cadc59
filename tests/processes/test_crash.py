"""
A task process that is killed at once, with SIGKILL, at every point of its work; and the try after it.

Whatever the point, the action runs exactly once, and the task ends with its output.
"""

import threading

import pytest
from support.classes import load_class
from support.task_process import run_task

from airflow_provider_kernel.owned.invocation import OwnedInvocation
from airflow_provider_kernel.testing import Fault


class Shop:
    """An action that must not run twice; it takes until the test lets it end."""

    def __init__(self, kernel):
        self.may_end = threading.Event()
        kernel.register("shop", "buy", self.buy)

    def buy(self, ctx, payload):
        while not self.may_end.is_set() and not ctx.wait(0.01):
            pass
        return {"bought": payload["tickets"]}


@pytest.fixture
def shop(kernel_emulator):
    return Shop(kernel_emulator)


class Point:
    """A request to Airflow at which the task dies: the ``nth`` that fits, before or after it was acted on."""

    def __init__(self, method, ending, *, nth=1, when="hold"):
        self.method, self.ending, self.nth, self.when = method, ending, nth, when
        self.reached = threading.Event()
        self._count = 0
        self._dead = threading.Event()

    def arm(self, api):
        setattr(api, self.when, self._meet)

    def disarm(self, api):
        api.hold = api.after = lambda method, path: None

    def _meet(self, method, path):
        if method == self.method and path.endswith(self.ending):
            self._count += 1
            if self._count == self.nth:
                self.reached.set()
                assert self._dead.wait(30)

    def kill(self, task):
        assert self.reached.wait(30)
        task.die()
        self._dead.set()


def at_airflow(*arguments, **options):
    """Die at a request to Airflow."""

    def run_first_try(run, api, kernel, task_id):
        point = Point(*arguments, **options)
        point.arm(api)
        run(task_id, act=point.kill)
        point.disarm(api)

    return run_first_try


def at_kernel(fault, method, path, *, shop_ends=False):
    """Die at a request to Kernel."""

    def run_first_try(run, api, kernel, task_id):
        rule = kernel.add_fault(fault()) if fault else None

        def act(task):
            kernel.wait_for(method, path, timeout=30)
            if rule is not None and rule.hold:
                rule.wait_until_held(timeout=30)
            task.die()
            if rule is not None and rule.hold:
                rule.release()

        run(task_id, act=act)

    return run_first_try


POINTS = {
    "before the ledger is read": at_airflow("GET", "/kernel_invocation"),
    "before the intent is stored": at_airflow("PUT", "/kernel_invocation"),
    "after the intent": at_airflow("PUT", "/kernel_invocation", when="after"),
    "while the create is on the wire": at_kernel(
        lambda: Fault("POST", "/invocations", delay=0.5), "POST", "/invocations"
    ),
    "after the server took it, before its answer": at_kernel(
        lambda: Fault("POST", "/invocations", hold=True), "POST", "/invocations"
    ),
    "after the answer, before the id is stored": at_airflow("PUT", "/kernel_invocation", nth=2),
    "after the id is stored, before it is in the ownership record": at_airflow("POST", "/kernel_invocation_owner"),
    "after it is in the ownership record, before it is in XCom by itself": at_airflow("POST", "/invocation_id"),
    "while polling": at_kernel(None, "GET", "/invocations/*"),
}


@pytest.fixture(autouse=True)
def a_short_look_for_lost_starts(monkeypatch):
    monkeypatch.setattr(OwnedInvocation, "listing_lag_seconds", 2.0)


@pytest.fixture
def run(execution_api, kernel_connection):
    execution_api.max_tries = 1

    def run(task_id, **options):
        run_task(execution_api, task_id, dag_id="crash", file="crash.py", **options)

    return run


def end_of_the_deferral(api, run, try_number, **options):
    """Run the trigger that the task deferred with, and let the task go on."""
    import asyncio

    defer = api.states[-1]
    trigger = load_class(defer["classpath"])(**defer["trigger_kwargs"])

    async def fire():
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(fire())
    api.next_method, api.next_kwargs = defer["next_method"], {"event": event}
    run("deferrable", try_number=try_number, **options)


@pytest.mark.parametrize("task_id", ["blocking", "marked", "deferrable"])
@pytest.mark.parametrize("die", POINTS.values(), ids=list(POINTS))
def test_crash_runs_the_action_once_and_ends_with_its_output(
    task_id, die, run, shop, execution_api, kernel_emulator
):
    die(run, execution_api, kernel_emulator, task_id)
    assert execution_api.final_state != "success"
    execution_api.states.clear()
    execution_api.xcoms.clear()

    shop.may_end.set()
    run(task_id, try_number=2)
    if task_id == "deferrable" and execution_api.final_state == "deferred":
        end_of_the_deferral(execution_api, run, try_number=2)

    assert execution_api.final_state == "success"
    assert execution_api.xcoms["return_value"] == {"bought": 2}
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["succeeded"]
    assert kernel_emulator.requests("PATCH") == ()


def test_crash_after_the_result_reuses_it(run, shop, execution_api, kernel_emulator):
    shop.may_end.set()
    at_airflow("POST", "/return_value")(run, execution_api, kernel_emulator, "blocking")
    execution_api.states.clear()
    run("blocking", try_number=2)
    assert execution_api.final_state == "success"
    assert execution_api.xcoms["return_value"] == {"bought": 2}
    assert len(kernel_emulator.invocations) == 1


def test_crash_after_the_result_of_a_deferral_reuses_it(run, shop, execution_api, kernel_emulator):
    run("deferrable")
    assert execution_api.final_state == "deferred"
    shop.may_end.set()
    point = Point("POST", "/return_value")
    point.arm(execution_api)
    end_of_the_deferral(execution_api, run, try_number=1, act=point.kill)
    point.disarm(execution_api)
    execution_api.states.clear()
    execution_api.next_method = execution_api.next_kwargs = None
    run("deferrable", try_number=2)
    assert execution_api.final_state == "success"
    assert execution_api.xcoms["return_value"] == {"bought": 2}
    assert len(kernel_emulator.invocations) == 1


def test_crash_without_a_ledger_runs_the_action_twice(run, shop, execution_api, kernel_emulator):
    """What the ledger is for; and these tests can tell."""
    at_kernel(None, "GET", "/invocations/*")(run, execution_api, kernel_emulator, "forgetful")
    shop.may_end.set()
    run("forgetful", try_number=2)
    assert len(kernel_emulator.invocations) == 2
