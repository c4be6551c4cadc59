"""One task instance over its tries, and what must hold in each of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.classes import load_class
from support.execution_api import task_instance
from support.histories.plans import RETRIES, STARTS, Try
from support.histories.process import API, PROCESS
from support.in_process import run_task

from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.testing.resources.invocations.record import most_active_at_once

if TYPE_CHECKING:
    from support.histories.history import History


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
