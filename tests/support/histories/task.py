"""One task instance over its tries."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.classes import load_class
from support.execution_api import task_instance
from support.histories.airflow import STORE_KEY, comms_with
from support.histories.clock import CLOCK
from support.histories.kernel import NETWORK
from support.histories.plans import ENDING, FETCHING, RESUMING, RETRIES, STARTS, TOUCHES, Return, Try
from support.histories.process import Process, current
from support.histories.rules import JudgedTask
from support.in_process import run_task

from airflow_provider_kernel._compat import AirflowTaskTimeout
from airflow_provider_kernel.testing import Fault

if TYPE_CHECKING:
    from support.histories.history import History

AFTER_DEFERRAL = (RESUMING, FETCHING)


@dataclass
class Ended:
    """How a try ended, where no process says so."""

    state: str
    error: None = None


@dataclass
class Told:
    """A trigger that is told late, in the process of the triggerer."""

    process: Process
    trigger: Any


class Task(JudgedTask):
    """A task instance over its tries."""

    def __init__(self, history: History, map_index: int) -> None:
        super().__init__(history, map_index)
        self.late_triggers: list[Told] = []
        self.suspended: list[tuple[Process, Return]] = []

    # --- one try

    def live(self, plan: Try):
        """Let it have its next try, and check what must hold then."""
        if self.is_over:
            return
        self.bring_back("before the next try")
        was_active = self.active
        self.began_with = len(self.records)
        self.begin(plan)
        kernel = self.history.kernel
        if STARTS[plan.start]:
            kernel.add_fault(Fault("POST", "/invocations", **STARTS[plan.start]))
        self.begin_outage("at once")
        result = self.run(plan)
        if result is not None and result.state == "deferred" and not self.crashed:
            result = self.defer(plan, result)
        kernel.clear_faults()
        self.ended_at = CLOCK.shared()
        if not self.is_doing("suspend"):
            for told in self.late_triggers:
                told.process.run(lambda told=told: asyncio.run(told.trigger.on_kill()))
        self.late_triggers = [] if result is not None else self.late_triggers
        self.at_most_one()
        healthy = [invocation_id for invocation_id in was_active if invocation_id not in self.doomed]
        if healthy and not (self.is_touched or self.saw_outage):
            assert not self.started_anew(healthy), "started anew beside what was taken up"
        if self.is_touched or (self.happened and plan.what[0] == "fail"):
            self.is_untouched = False
        self.settle(plan, result)
        self.bring_back("after the next try")
        self.wait_for_next_try(plan)

    def begin(self, plan):
        self.plan = plan
        self.number += 1
        self.crashed, self.cleared, self.happened, self.timed_out = False, False, False, False
        self.began_at = CLOCK.shared()
        self.api.try_number = self.number
        self.api.ti_id = uuid.uuid4()
        self.api.task_state = "running"
        self.api.xcoms.clear()  # as Airflow does before a new try
        self.api.has_published = False

    def begin_outage(self, at):
        outage = self.plan.outage
        if outage is not None and outage.at == at:
            NETWORK.begin(outage)

    def started_anew(self, was_active):
        return [
            r for r in self.records if r.opened > max(self.history.kernel.invocation(i).opened for i in was_active)
        ]

    # --- after it

    def settle(self, plan, result):
        """Check how the try ended, and see what Airflow makes of it."""
        lost = self.is_doing("lose contact")
        if self.is_touched or not self.crashed:
            self.doom(result)
        if self.is_doing("mark failed") or self.is_doing("mark success"):
            self.is_over, self.succeeded = True, plan.what[0] == "mark success"
        elif self.is_doing("clear while running") and not self.cleared:
            self.clear(while_running=True)
        elif self.crashed:
            self.is_over = self.is_last
        elif not self.cleared:
            if result.state == "success":
                self.is_over = self.succeeded = self.has_result = True
                assert not self.is_touched, "a killed task succeeded"
                self.right_result()
            else:
                # A start that may have been taken, and cannot be searched for, fails the task outright.
                is_final = self.is_last or (self.saw_outage and result.state == "failed")
                assert result.state == ("failed" if is_final else "up_for_retry"), result.error
                self.is_over = is_final
            self.nothing_is_left(unless=lost)
        self.api.task_state = self.state_between_tries()

    def doom(self, result):
        """Note what the next try may end: all that this one failed to end, although it should have."""
        if result is not None and result.state == "success":
            return
        if self.is_touched:
            self.doomed |= set(self.active)
        elif self.api.store.get(STORE_KEY, {}).get("is_closed"):  # else it is left to the next try to take up
            self.doomed |= {record.id for record in self.records[self.began_with :]}
            self.is_untouched &= not self.active

    def state_between_tries(self):
        if not self.is_over:
            return "scheduled" if self.cleared else "up_for_retry"
        return "success" if self.succeeded else "failed"

    def wait_for_next_try(self, plan):
        """See what happens to the task before its next try."""
        if not self.is_over:
            CLOCK.sleep(plan.delay)
        if plan.marked and not self.is_over and not self.cleared:
            self.is_over, self.succeeded = True, plan.marked == "success"
            self.is_untouched = False
            self.api.task_state = plan.marked
        elif plan.cleared and not self.cleared:
            self.clear()
            self.is_over = self.succeeded = self.has_result = False
            self.is_untouched = False
            self.api.task_state = "scheduled"
        for invocation_id in self.active if plan.then and not self.is_over else ():
            self.history.kernel.finish(invocation_id, plan.then, output={"of": invocation_id})
            self.is_untouched &= plan.then == "succeeded"

    def clear(self, *, while_running=False):
        self.cleared = True
        self.api.clear_number += self.history.counts_clears
        if not while_running:  # Airflow then leaves max_tries as it is
            self.api.max_tries = self.number + RETRIES
        self.fresh_from = len(self.records)
        self.doomed |= {record.id for record in self.records}

    # --- the processes of a try

    def run(self, plan, **going_on):
        """Run a process of the task. ``None`` when it was suspended, and Airflow has given it up."""
        task = self.history.operator()
        self.api.next_method, self.api.next_kwargs = going_on.get("method"), going_on.get("kwargs")
        process = Process(at=self.at)

        def happens(invocation_id):
            what, point = plan.what
            self.at("while waiting")
            if self.history.deferrable and (not plan.early or what == "lose contact"):
                return
            if point != "while waiting":
                self.happen_to_the_invocation(what, point, invocation_id)

        task.happens = happens
        ti = task_instance(map_index=self.map_index, try_number=self.number)
        ti.id = process.ti_id = self.api.ti_id
        process.try_number = self.number
        process.run(lambda: run_task(ti=ti, task=task, client=self.api.client()))
        if process.is_suspended:
            self.suspended.append((process, plan.returns))
            self.crashed = True
            self.api.ti_id = None
            return None
        self.crashed = process.is_dead()
        if process.result is None and not self.crashed:
            raise process.error
        return process.result

    def at(self, point):
        """Let happen what is planned for a point of the present try; another process may only pass it."""
        process = current()
        process.check()
        if point is None or process.is_dead() or process.ti_id != self.api.ti_id:
            return
        self.bring_back(point)
        self.begin_outage(point)
        what, where = self.plan.what
        if point == "while waiting" and self.history.deferrable and not self.plan.early:
            return
        if where == ENDING and point == "while waiting" and not self.timed_out:
            self.time_out()
        if self.happened or where != point:
            return
        self.begin_outage("with it")
        self.happened = True
        if what == "crash":
            process.crash()
        elif what == "suspend":
            process.suspend()
        elif what == "time out":
            self.time_out()
        else:
            self.api.task_state = {
                "clear while running": "restarting",
                "mark failed": "failed",
                "mark success": "success",
            }.get(what, "running")
            process.sigterm()

    def time_out(self):
        self.timed_out, self.is_untouched = True, False
        self.begin_outage("with it")
        raise AirflowTaskTimeout("the execution_timeout has passed")

    def happen_to_the_invocation(self, what, point, invocation_id):
        kernel = self.history.kernel
        if what == "lose contact":
            kernel.add_fault(Fault("GET", "/invocations/*", status=401))
            self.happened = True
        elif not kernel.invocation(invocation_id).finished:
            self.begin_outage("with it")
            failing = what == "fail" or point == "before the end is stored"
            self.happened |= what == "fail"
            self.is_untouched &= not failing
            with suppress(ValueError):
                kernel.finish(invocation_id, "failed" if failing else "succeeded", output={"of": invocation_id})

    def defer(self, plan, deferred):
        """See it through its deferral: on to another process, or to the end of it."""
        trigger = load_class(deferred.msg.classpath)(**deferred.msg.trigger_kwargs)
        triggerer = Process()
        triggerer.comms = comms_with(self.api)
        triggerer.try_number = self.number
        trigger.task_instance = task_instance(map_index=self.map_index, try_number=self.number)
        self.api.task_state = "deferred"
        self.at_most_one()
        self.bring_back("while the next try is deferred")
        what, point = plan.what
        if what in TOUCHES and what != "time out" and point not in AFTER_DEFERRAL and not self.happened:
            return self.touch_deferred(what, point, triggerer, trigger)
        if not self.happened:
            self.happen_to_the_invocation(what, point, trigger.invocation_id)

        async def fire():
            return [event.payload async for event in trigger.run()]

        triggerer.run(lambda: asyncio.run(fire()))
        if triggerer.error is not None:
            raise triggerer.error
        (event,) = triggerer.result
        self.api.task_state = "running"
        return self.run(plan, method=deferred.msg.next_method, kwargs={"event": event})

    def touch_deferred(self, what, point, triggerer, trigger):
        """Let a user mark or clear a deferred task. Airflow tells the trigger only."""
        self.happened = True
        self.begin_outage("with it")
        if what in ("clear", "clear while running"):
            self.clear()
            self.api.task_state = "scheduled"
        else:
            state = "failed" if self.is_last else "up_for_retry"
            self.api.task_state = {"mark failed": "failed", "mark success": "success"}.get(what, state)
        if point == "its trigger is told after":
            self.late_triggers.append(Told(triggerer, trigger))
        elif point != "its trigger is never told":
            triggerer.run(lambda: asyncio.run(trigger.on_kill()))
        return None if self.cleared else Ended(self.api.task_state)

    # --- old processes

    def bring_back(self, point):
        """Let those old processes go on that return at a point."""
        for process, returns in [pair for pair in self.suspended if pair[1].at == point]:
            if point == "after the next try" and process.try_number == self.number and not self.is_over:
                continue
            self.suspended.remove((process, returns))
            with self.leaves_the_next_try_alone(process):
                process.go_on(lambda process=process, returns=returns: _signal(process, returns))


def _signal(process, returns):
    """Handle the first signal of a process that goes on: on its main thread, on top of what it was doing."""
    if returns.by == "timeout":
        if process.is_main_thread_blocked():
            return
        raise AirflowTaskTimeout("the execution_timeout has passed")
    process.sigterm()
