"""
Made-up histories of tasks: never two invocations at a time, none left behind, none cancelled that should go on.

A history is a sequence of tries of one task, or of mapped siblings that ask for the same. Each try has trouble with
its start, something happens to it at some point (its process crashes, it is killed or cleared, contact is lost, the
invocation ends), and something may happen before the next one. A crash is the end of all effects: from that point
on nothing that the process still does gets to Airflow or to Kernel.

Hypothesis makes up some 300; ``HISTORIES=1000`` in the environment makes up more, at about 0.15 s each. (Not
``KERNEL_HISTORIES``: the tests forget whatever begins with ``KERNEL_``.)
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone

import httpx
import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import XComSequenceSliceResult
from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from support.classes import load_class
from support.execution_api import ExecutionAPI, task_instance
from support.in_process import run_task

from airflow_provider_kernel.callbacks import cancel_kernel_invocations
from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.errors import KernelConnectionError
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.owned.invocation import OwnedInvocation
from airflow_provider_kernel.testing import Fault, KernelEmulator
from airflow_provider_kernel.testing.resources.invocations.record import most_active_at_once

EXAMPLES = int(os.environ.get("HISTORIES", "300"))
pytestmark = pytest.mark.timeout(60 + 2 * EXAMPLES)
RETRIES = 3

STARTS = {
    "ok": {},
    "dropped before": {"drop": "before"},
    "dropped after": {"drop": "after"},
    "500": {"status": 500},
    "500, processed": {"status": 500, "processed": True},
    "502": {"status": 502},
    "429": {"status": 429, "headers": {"Retry-After": "0"}},
    "truncated": {"truncate": True},
    "html, processed": {"status": 200, "body": "<html>", "processed": True},
}

#: What happens in a try, and at which point of it.
STARTING = [
    "after the search for what was started",
    "before the intent is stored",
    "after the intent is stored",
    "before the id is stored",
    "after the id is stored",
]
CRASHES = [
    *STARTING,
    "while waiting",
    "before the result is pushed",
    "before the task ends",
    "before the end is stored",
]
KILLS = [*STARTING, "while waiting"]
THINGS = [
    *(("crash", point) for point in CRASHES),
    *(("kill", point) for point in KILLS),  # also what a clear of a running task does
    *(
        ("clear", when)
        for when in ("its trigger is told before", "its trigger is told after", "its trigger is never told")
    ),
    ("succeed", ""),
    ("fail", ""),
    ("lose contact", ""),
]


@dataclass(frozen=True)
class Try:
    """
    :param start: what trouble its create request has.
    :param what: what happens in it, and where.
    :param early: whether that happens before a deferrable task defers.
    :param then: how an invocation that is left ends before the next try, if it does.
    :param cleared: whether the task is cleared before the next try.
    """

    start: str
    what: tuple[str, str]
    early: bool
    then: str | None
    cleared: bool


TRIES = st.builds(
    Try,
    start=st.sampled_from(list(STARTS)),
    what=st.sampled_from(THINGS),
    early=st.booleans(),
    then=st.sampled_from([None, None, None, "succeeded", "failed"]),
    cleared=st.sampled_from([False, False, False, False, True]),
)
#: What may happen to a task that nobody touches: it is to run once.
CRASHING = st.builds(
    Try,
    start=st.sampled_from(list(STARTS)),
    what=st.sampled_from([(what, point) for what, point in THINGS if what in ("crash", "lose contact", "succeed")]),
    early=st.booleans(),
    then=st.sampled_from([None, None, "succeeded"]),
    cleared=st.just(False),
)
#: What leaves nothing behind that a next try would have to know of.
ORDERLY = st.one_of(
    [
        st.builds(
            Try,
            start=st.sampled_from(list(STARTS)),
            what=st.sampled_from(things),
            early=early,
            then=st.none(),
            cleared=st.sampled_from([False, False, False, False, True]),
        )
        for things, early in (
            ([("kill", point) for point in KILLS], st.just(True)),
            ([("succeed", ""), ("fail", "")], st.booleans()),
        )
    ]
)
#: Why a test is only of these versions.
REMEMBERS = "before, no try knows of another"


class Crash(BaseException):
    """The process is gone: nothing behind this point has an effect."""


class Process:
    """The process of a try that runs now, if it still does."""

    is_dead = False
    operator = None
    at = staticmethod(lambda point: None)

    def crash(self):
        self.is_dead = True
        raise Crash


PROCESS = Process()


class Operator(KernelInvokeOperator):
    """The operator, with something happening while it waits."""

    happens = staticmethod(lambda invocation_id: None)

    def run_with_hook(self, context):
        PROCESS.operator = self  # Airflow runs a copy of the task
        wait = self.hook.wait_for_invocation

        def happen_and_wait(invocation_id, *, deadline, **options):
            self.happens(invocation_id)
            # Rather than hang, when something is wrong.
            return wait(invocation_id, deadline=min(deadline, time.time() + 20), **options)

        self.hook.wait_for_invocation = happen_and_wait
        return super().run_with_hook(context)


class API(ExecutionAPI):
    """An Execution API for one of several siblings, which takes nothing from a dead process."""

    siblings: list[API]
    try_number = 1

    def _act(self, method, path, request):
        if PROCESS.is_dead:
            return httpx.Response(204 if method != "GET" else 404)
        if path.endswith("/slice"):
            key = path.split("/")[-2]
            return httpx.Response(200, json=[api.xcoms[key] for api in self.siblings if key in api.xcoms])
        before, after = self._points(method, path, request)
        PROCESS.at(before)
        answer = super()._act(method, path, request)
        PROCESS.at(after)
        return answer

    def _points(self, method, path, request):
        if method == "PUT" and path.endswith("/kernel_invocation"):
            entry = json.loads(request.content)["value"]
            if entry["is_closed"]:
                return "before the end is stored", None
            what = "intent" if entry["external_id"] is None else "id"
            return f"before the {what} is stored", f"after the {what} is stored"
        if method == "POST" and path.endswith("/return_value"):
            return "before the result is pushed", "before the task ends"
        return None, None

    def _run_context(self):
        return {**super()._run_context(), "should_retry": self.try_number <= self.max_tries}


@dataclass
class Task:
    """A task instance over its tries."""

    history: History
    map_index: int
    api: API = field(default_factory=API)
    number: int = 0
    is_over: bool = False
    succeeded: bool = False
    crashed: bool = False
    cleared: bool = False
    is_untouched: bool = True  # nothing but crashes and lost contact
    fresh_from: int = 0  # results of invocations before this one are thrown away
    late_triggers: list = field(default_factory=list)

    def __post_init__(self):
        self.api.max_tries = RETRIES

    # --- what Kernel has of it

    @property
    def records(self):
        found = [i for i in self.history.kernel.invocations if i.action_name == self.history.action]
        if self.map_index < 0:
            return found
        return [i for i in found if i.payload_json["_airflow"]["map_index"] == self.map_index]

    @property
    def active(self):
        return [record.id for record in self.records if not record.finished]

    def cancelled(self):
        mine = {record.id for record in self.records}
        paths = [request.path for request in self.history.kernel.requests("PATCH")]
        return [path for path in paths if path.rsplit("/", 1)[-1] in mine]

    # --- one try

    def live(self, plan: Try):
        """Let it have its next try, and check what must hold then."""
        if self.is_over:
            return
        was_active, cancelled_before, was_cleared = self.active, self.cancelled(), self.cleared
        self.number += 1
        self.crashed, self.cleared = False, False
        self.api.try_number = self.number
        self.api.xcoms.clear()  # as Airflow does before a new try
        kernel = self.history.kernel
        if STARTS[plan.start]:
            kernel.add_fault(Fault("POST", "/invocations", **STARTS[plan.start]))
        self.happened = False
        result = self.run(plan)
        if result.state == "deferred" and not self.crashed:
            result = self.defer(plan, result)
        kernel.clear_faults()
        for trigger in self.late_triggers:
            asyncio.run(trigger.on_kill())
        self.late_triggers = [] if result is not None else self.late_triggers

        what = plan.what[0]
        touched = self.happened and what in ("kill", "clear")
        last = self.number > self.api.max_tries
        lost = self.happened and what == "lose contact"
        self.at_most_one()
        if not (touched or was_cleared or (lost and last)):
            assert self.cancelled() == cancelled_before, "cancelled although it should have gone on"
            assert not was_active or not self.started_anew(was_active), "started anew beside what was taken up"
        if touched or (self.happened and what == "fail"):
            self.is_untouched = False
        self.settle(plan, result, lost=lost, last=last)

    def started_anew(self, was_active):
        return [
            r for r in self.records if r.opened > max(self.history.kernel.invocation(i).opened for i in was_active)
        ]

    def settle(self, plan, result, *, lost, last):
        """Check how the try ended, and see what Airflow makes of it."""
        kernel = self.history.kernel
        if self.crashed:
            self.is_over = last
        elif self.cleared:  # while deferred
            self.fresh_from = len(self.records)
        else:
            if result.state == "success":
                self.is_over = self.succeeded = True
                assert not (self.happened and plan.what[0] == "kill"), "a killed task succeeded"
                self.right_result()
            else:
                assert result.state == ("failed" if last else "up_for_retry"), result.error
                self.is_over = last
            if not (lost and not last and self.api.max_tries):
                assert self.active == [], "left active by a try that ended in good order"
        if plan.cleared and not self.cleared:
            self.clear()
            self.is_over = self.succeeded = False
            self.is_untouched = False
        for invocation_id in self.active if plan.then and not self.is_over else ():
            kernel.finish(invocation_id, plan.then, output={"of": invocation_id})
            self.is_untouched &= plan.then == "succeeded"

    def clear(self):
        self.cleared = True
        self.api.max_tries = self.number + RETRIES
        self.fresh_from = len(self.records)

    def run(self, plan, **going_on):
        """Run a process of the task."""
        PROCESS.is_dead = False
        task = self.history.operator()
        self.api.next_method, self.api.next_kwargs = going_on.get("method"), going_on.get("kwargs")

        def at(point):
            if point is None or self.happened or plan.what[1] != point:
                return
            self.happened = True
            if plan.what[0] == "kill":
                PROCESS.operator.on_kill()
            else:
                PROCESS.crash()

        def happens(invocation_id):
            what, point = plan.what
            if self.history.deferrable and (not plan.early or what == "lose contact"):
                return
            if point == "while waiting":
                at(point)
            else:
                self.happen_to_the_invocation(what, point, invocation_id)

        PROCESS.at, task.happens = at, happens
        ti = task_instance(map_index=self.map_index, try_number=self.number)
        result = run_task(ti=ti, task=task, client=self.api.client())
        self.crashed, PROCESS.is_dead = PROCESS.is_dead, False
        return result

    def happen_to_the_invocation(self, what, point, invocation_id):
        kernel = self.history.kernel
        if what == "lose contact":
            kernel.add_fault(Fault("GET", "/invocations/*", nth=range(1, 21), status=500))
            self.happened = True
        elif not kernel.invocation(invocation_id).finished:
            failing = what == "fail" or point == "before the end is stored"
            self.happened |= what == "fail"
            self.is_untouched &= not failing
            with suppress(ValueError):
                kernel.finish(invocation_id, "failed" if failing else "succeeded", output={"of": invocation_id})

    def defer(self, plan, deferred):
        """See it through its deferral: on to another process, or to the end of it."""
        trigger = load_class(deferred.msg.classpath)(**deferred.msg.trigger_kwargs)
        what, point = plan.what
        self.at_most_one()
        if what == "clear":
            self.happened = True
            self.clear()
            if point == "its trigger is told before":
                asyncio.run(trigger.on_kill())
            elif point == "its trigger is told after":
                self.late_triggers.append(trigger)
            return None
        if what == "kill" and not self.happened:
            # Airflow failed the task, or made it run again, and tells the trigger only.
            self.happened = True
            asyncio.run(trigger.on_kill())
            return Ended("failed" if self.number > self.api.max_tries else "up_for_retry")
        if not self.happened:
            self.happen_to_the_invocation(what, point, trigger.invocation_id)

        async def fire():
            return [event.payload async for event in trigger.run()]

        (event,) = asyncio.run(fire())
        return self.run(plan, method=deferred.msg.next_method, kwargs={"event": event})

    # --- what must hold

    def at_most_one(self):
        assert most_active_at_once(self.records) <= 1, "two at a time"

    def right_result(self):
        of = self.api.xcoms["return_value"]["of"]
        fresh = {record.id: record for record in self.records[self.fresh_from :]}
        assert of in fresh, "the result of a thrown-away try"
        assert fresh[of].status == "succeeded"

    def in_the_end(self):
        self.at_most_one()
        if self.is_untouched:
            assert len(self.records) <= 1, "ran twice"
            assert not self.succeeded or len(self.records) == 1
        if self.is_over and self.active:
            assert self.crashed
            # The nets know it by its XCom or by its mark. Without either its own time limit is all there is.
            known = set(self.active) <= {self.api.xcoms.get("invocation_id")}
            assert not known, "left behind"
            assert not self.history.correlation_key, "left behind, though marked"


@dataclass
class Ended:
    state: str
    error: None = None


class History:
    """One history."""

    count = itertools.count()

    def __init__(self, kernel, *, siblings=1, deferrable=False, marked=False, durable=True):
        self.kernel = kernel
        self.deferrable = deferrable
        self.durable = durable
        self.correlation_key = "_airflow" if marked or siblings > 1 else None
        self.action = f"a{next(self.count)}"
        kernel.reset()
        kernel.register("demo", self.action, lambda ctx: ctx.wait())
        self.tasks = [Task(self, -1 if siblings == 1 else index) for index in range(siblings)]
        for task in self.tasks:
            task.api.siblings = [task.api for task in self.tasks]

    def operator(self):
        """Make the operator, as each process does."""
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
            return Operator(
                task_id="t",
                retries=RETRIES,
                app_name="demo",
                action_name=self.action,
                payload={"tickets": 2},
                poll_interval=0.001,
                stream_logs=False,
                deferrable=self.deferrable,
                durable=self.durable,
                correlation_key=self.correlation_key,
            )

    def live(self, tries):
        for who, plan in tries:
            self.tasks[who % len(self.tasks)].live(plan)
            for task in self.tasks:
                task.at_most_one()
        for task in self.tasks:
            # A last try, in which nothing happens, ends what is not over.
            while not task.is_over:
                task.live(Try("ok", ("succeed", ""), early=True, then=None, cleared=False))
        self.cast_the_nets()
        for task in self.tasks:
            task.in_the_end()

    def cast_the_nets(self):
        """Do what a DAG run does that has failed, and what the maintenance DAG does."""
        if all(task.succeeded for task in self.tasks):
            return
        ids = [t.api.xcoms["invocation_id"] for t in self.tasks if "invocation_id" in t.api.xcoms]

        class Comms:
            def send(self, msg):
                return XComSequenceSliceResult(root=ids)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)
            cancel_kernel_invocations({"dag": self.operator().dag, "run_id": "r"})
        if self.correlation_key and any(task.active for task in self.tasks):
            api = ExecutionAPI(dag_run_states={"r": "failed"})
            with DAG("maintenance", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
                net = KernelCancelOrphansOperator(task_id="net", app_name="demo", dry_run_only=False)
            result = run_task(ti=task_instance("net", "maintenance"), task=net, client=api.client())
            assert result.state == "success"


@pytest.fixture(scope="module")
def kernel():
    """One emulator for all, and no time is lost."""
    with KernelEmulator() as kernel, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", kernel.airflow_connection)
        patch.setattr("airflow_provider_kernel.owned.invocation.OwnedInvocation.listing_lag_seconds", 0.0)
        patch.setattr("airflow_provider_kernel.client.resources.invocations.wait.LOST_CONTACT_SECONDS", 0.0)
        patch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)
        patch.setattr("airflow_provider_kernel.client.retry.RetryPolicy.wait", lambda policy, state: 0.0)
        # Here the tries of a task follow each other in milliseconds, and there is one clock.
        patch.setattr(
            "airflow_provider_kernel.client.resources.invocations.find_started._by_the_servers_clock",
            lambda since, now, server: since,
        )
        # A socket and a thread per process of a task, for operators that start processes of their own.
        patch.setattr(InProcessTestSupervisor, "_setup_subprocess_socket", lambda supervisor: nullcontext())
        for search in ("get", "find"):
            patch.setattr(OwnedInvocation, search, _and_then(getattr(OwnedInvocation, search)))
        for client in (KernelClient, AsyncKernelClient):
            patch.setattr(client, "run", _unless_dead(client.run))
        switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0002)  # the threads of a task and of the emulator wait for each other all the time
        yield kernel
        sys.setswitchinterval(switch_interval)


def _and_then(search):
    def search_and_then(*args, **options):
        found = yield from search(*args, **options)
        PROCESS.at("after the search for what was started")
        return found

    return search_and_then


def _unless_dead(run):
    def run_unless_dead(*args, **kwargs):
        if PROCESS.is_dead:
            raise KernelConnectionError("the process is dead", sent=False)
        return run(*args, **kwargs)

    return run_unless_dead


def histories(examples, **more):
    return settings(
        max_examples=max(1, examples),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )


ALONE = st.lists(st.tuples(st.just(0), TRIES), min_size=1, max_size=6)


@pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])
class TestHistories:
    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    @histories(EXAMPLES * 3 // 10)
    @given(tries=ALONE, marked=st.booleans())
    def test_histories_of_one_task(self, deferrable, kernel, tries, marked):
        History(kernel, deferrable=deferrable, marked=marked).live(tries)

    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    @histories(EXAMPLES // 10)
    @given(tries=st.lists(st.tuples(st.just(0), CRASHING), min_size=1, max_size=5), marked=st.booleans())
    def test_histories_of_crashes_only(self, deferrable, kernel, tries, marked):
        History(kernel, deferrable=deferrable, marked=marked).live(tries)

    @histories(EXAMPLES // 15)
    @given(tries=st.lists(st.tuples(st.just(0), ORDERLY), min_size=1, max_size=6))
    def test_histories_of_orderly_ends_on_every_version(self, deferrable, kernel, tries):
        History(kernel, deferrable=deferrable, marked=True).live(tries)

    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    @histories(EXAMPLES // 10)
    @given(
        tries=st.lists(st.tuples(st.integers(0, 2), TRIES), min_size=2, max_size=9),
        siblings=st.integers(2, 3),
    )
    def test_histories_of_mapped_siblings_with_equal_payloads(self, deferrable, kernel, tries, siblings):
        History(kernel, siblings=siblings, deferrable=deferrable).live(tries)


@pytest.mark.needs_airflow("3.3", REMEMBERS)
@pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])
@pytest.mark.parametrize("crashed", ["before the id is stored", "after the id is stored"])
@pytest.mark.parametrize("killed", ["after the search for what was started", "before the id is stored"])
def test_kill_during_a_reconnect_cancels_the_invocation(deferrable, crashed, killed, kernel):
    tries = [
        Try("ok", what, early=True, then=None, cleared=False) for what in (("crash", crashed), ("kill", killed))
    ]
    history = History(kernel, deferrable=deferrable)
    history.live([(0, plan) for plan in tries])
    assert [record.status for record in history.tasks[0].records] == ["failed", "succeeded"]


@pytest.mark.needs_airflow("3.3", REMEMBERS)
@pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])
def test_histories_fail_without_the_ledger(deferrable, kernel):
    @histories(200, phases=[Phase.generate])
    @given(tries=ALONE)
    def without(tries):
        History(kernel, deferrable=deferrable, durable=False).live(tries)

    with pytest.raises(AssertionError, match=r"two at a time|ran twice|started anew"):
        without()
