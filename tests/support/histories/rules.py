"""What must hold of a task instance, in each of its tries and in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.histories.airflow import API, OWNER_KEY
from support.histories.kernel import NETWORK
from support.histories.plans import QUIET, RETRIES, TOUCHES, Try

from airflow_provider_kernel.testing.resources.invocations.record import most_active_at_once

if TYPE_CHECKING:
    from support.histories.history import History
    from support.histories.process import Process

#: A try that ends this long after an outage must have ended its invocation: a request hangs for a minute at most.
SETTLED_SECONDS = 75.0
#: What a process must not write once another try runs: Airflow takes it from an old process, too.
OUR_KEYS = (OWNER_KEY, "invocation_id", "return_value")
NEXT_TRY_DECIDES = ("up_for_retry", "scheduled", "queued")


class JudgedTask:
    """A task instance, and the rules for what happens to its invocations."""

    def __init__(self, history: History, map_index: int) -> None:
        self.history = history
        self.map_index = map_index
        self.api = API(max_tries=RETRIES)
        self.api.map_index = map_index
        self.api.published = set()
        # The present try.
        self.plan: Try = QUIET
        self.number = 0
        self.began_at = self.ended_at = 0.0
        self.began_with = 0
        self.happened = self.timed_out = False
        self.crashed = self.cleared = False
        # The task.
        self.is_over = self.succeeded = self.has_result = False
        self.is_untouched = True  # nothing but crashes and lost contact
        self.fresh_from = 0  # results of invocations before this one are thrown away
        #: The invocations that may be ended: they are of a try that was cleared, or that failed in good order.
        self.doomed: set[str] = set()

    @property
    def records(self):
        found = [i for i in self.history.kernel.invocations if i.action_name == self.history.action]
        if self.map_index < 0:
            return found
        return [i for i in found if i.payload_json["_airflow"]["map_index"] == self.map_index]

    @property
    def active(self):
        return [record.id for record in self.records if not record.finished]

    @property
    def is_last(self):
        return self.number > self.api.max_tries

    @property
    def is_touched(self):
        return self.happened and self.plan.what[0] in TOUCHES

    @property
    def saw_outage(self):
        """Whether Kernel was down at some time of the present try."""
        return NETWORK.was_down_since(self.began_at)

    def is_doing(self, what):
        return self.happened and self.plan.what[0] == what

    def judge(self, process, invocation_id):
        """Return why a process must not cancel an invocation now; ``None`` if it may."""
        state = self.api.task_state
        if not process.try_number:
            return None if self.is_over else "ended by a net although the task goes on"
        if invocation_id in self.doomed or self.is_of_no_use(invocation_id):
            return None
        if process.try_number != self.number or (process.ti_id is not None and process.ti_id != self.api.ti_id):
            may_end = state not in (*NEXT_TRY_DECIDES, "running", "deferred")
            if state == "running" and not process.can_know_that_it_is_old:
                # It knows of no record, and the present try has written none: nothing tells them apart.
                self.doomed.add(invocation_id)
                self.is_untouched = False
                return None
            return None if may_end else f"ended by an old process while the task was {state}"
        created = invocation_id in {record.id for record in self.records[self.began_with :]}
        # A start that got lost in an outage, and a last try, which nobody takes over from.
        failed_outright = self.saw_outage and (created or self.is_last)
        self.is_untouched &= not failed_outright
        if self.is_touched or self.timed_out or failed_outright:
            return None
        return "cancelled although it should have gone on"

    def is_of_no_use(self, invocation_id):
        """Return whether it is over, and no result of the present try."""
        record = self.api.xcoms.get(OWNER_KEY) or {}
        found = self.history.kernel.invocation(invocation_id)
        return found.finished and (found.status == "failed" or record.get("external_id") != invocation_id)

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
        if self.succeeded and self.has_result:
            self.right_result()
        for invocation_id in self.active:
            assert not self.history.correlation_key, "left behind, though marked"
            assert self.crashed or self.saw_outage, "left behind by a try that ended in good order"
            # The stated window: before the first act of a try, and before the id of what it started is stored.
            is_nameless = invocation_id not in self.api.published
            assert is_nameless or (self.crashed and not self.api.has_published), "left behind, though published"

    def nothing_is_left(self, *, unless):
        if not unless and not NETWORK.was_down_since(self.ended_at - SETTLED_SECONDS):
            assert self.active == [], "left active by a try that ended in good order"

    @contextmanager
    def leaves_the_next_try_alone(self, process: Process) -> Iterator[None]:
        """Watch an old process that goes on in the block."""
        xcoms, records = dict(self.api.xcoms), len(self.records)
        process.can_know_that_it_is_old = process.has_records or self.api.has_published
        yield
        is_old = self.api.task_state in ("running", "deferred") and process.try_number != self.number
        if is_old and process.can_know_that_it_is_old:
            changed = {key for key in OUR_KEYS if xcoms.get(key) != self.api.xcoms.get(key)}
            if changed:
                self.history.violations.append(f"an old process wrote {', '.join(sorted(changed))}")
        if len(self.records) != records:
            self.history.violations.append("an old process started something")
