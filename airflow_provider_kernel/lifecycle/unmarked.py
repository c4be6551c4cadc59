"""
The owners of objects that carry no mark, found in the ownership records of the tasks of some DAGs.

Airflow's API for tasks can search neither for runs by time, nor for XComs by value. One request gives the states of
all task instances of a DAG. The records are read run by run, those of unfinished runs first, until each object is
found. How many finished runs are read is bounded by the time in their ids.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.client.timestamps import earliest_time, parse_timestamp
from airflow_provider_kernel.lifecycle.ownership import OwnershipRecord, fetch_ownership, fetch_ownerships
from airflow_provider_kernel.lifecycle.task_instances import TaskState, group_by_task

log = get_logger(__name__)

_RUN_IS_OVER = frozenset({"success", "failed"})
_TASK_IS_OVER = frozenset(state.value for state in TaskState if state.is_over)
#: The states of a task that has written a record if it owns anything, unless a user marked it. In another state it
#: may have started nothing yet, or nothing at all.
_HAS_STARTED = frozenset({"success", "deferred"})

#: After so many runs in which a task has such a state and no record, it owns nothing.
_RUNS_WITHOUT_A_RECORD = 3

_TIME_IN_RUN_ID = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
#: The time in the id of such a run says nothing of when it ran.
_BACKFILL = "backfill__"
_LATEST = datetime.max.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Owned:
    """
    Whose an object is.

    :param what_is_over: ``"run"`` or ``"task"`` if that is over, so that the object is an orphan; empty if neither
        is; ``None`` if that is unknown.
    """

    dag_id: str
    run_id: str
    task_id: str
    what_is_over: str | None


class InstanceName(NamedTuple):
    """Names a task instance, as an ownership record needs it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


def find_owners(
    kind: str, dag_ids: Sequence[str], wanted: Collection[str], *, since: str, now: datetime
) -> dict[str, Owned]:
    """
    Find whose objects are. Blocks until Airflow has answered; a DAG that cannot be read is logged.

    :param wanted: the ids of the objects.
    :param since: how long ago a finished run may have begun, such as ``"2h"``, or the earliest time.
    """
    search = _Search(kind, wanted)
    earliest = earliest_time(since, now)
    for dag_id in dag_ids:
        if search.is_done:
            break
        try:
            search.read_dag(dag_id, earliest)
        except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
            log.warning("What the tasks of DAG %s own cannot be read: %s", dag_id, error)
    return search.found


def run_is_over(dag_id: str, run_id: str) -> bool | None:
    """Fetch whether a run is over; ``None`` if Airflow does not know it, or does not answer."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    try:
        state: Any = RuntimeTaskInstance.get_dagrun_state(dag_id, run_id)
    except Exception as error:  # noqa: BLE001 (whatever it is: an unknown state leaves the object alone)
        log.info("The state of run %s of DAG %s could not be fetched: %s", run_id, dag_id, error)
        return None
    return _value(state) in _RUN_IS_OVER


class _Search:
    def __init__(self, kind: str, wanted: Collection[str]) -> None:
        self._kind = kind
        self._wanted = set(wanted)
        self.found: dict[str, Owned] = {}

    @property
    def is_done(self) -> bool:
        return not self._wanted

    def read_dag(self, dag_id: str, earliest: datetime | None) -> None:
        by_run = _fetch_states(dag_id)
        without_record: Counter[str] = Counter()
        for run_id in _runs_to_read(by_run, earliest):
            mapped: set[str] = set()
            for task_id, states in group_by_task(by_run[run_id]):
                if without_record[task_id] >= _RUNS_WITHOUT_A_RECORD or task_id in mapped:
                    continue
                records = fetch_ownerships(self._kind, dag_id=dag_id, task_id=task_id, run_id=run_id)
                if records and -1 not in states:
                    mapped.update(f"{task_id}_{map_index}" for map_index in states)
                if not records and not _HAS_STARTED.isdisjoint(states.values()):
                    without_record[task_id] += 1
                for record in records:
                    self._decide(record, dag_id, run_id, task_id, states)
                if self.is_done:
                    return

    def _decide(
        self, record: OwnershipRecord, dag_id: str, run_id: str, task_id: str, states: Mapping[int, str | None]
    ) -> None:
        external_id = record.external_id
        if external_id is None or external_id not in self._wanted:
            return
        self._wanted.discard(external_id)
        what: str | None
        if not record.is_owned:
            what = ""
        elif self._task_is_over(external_id, dag_id, run_id, task_id, states):
            what = "task"
        else:
            is_over = run_is_over(dag_id, run_id)
            what = None if is_over is None else "run" if is_over else ""
        self.found[external_id] = Owned(dag_id, run_id, task_id, what)

    def _task_is_over(
        self, external_id: str, dag_id: str, run_id: str, task_id: str, states: Mapping[int, str | None]
    ) -> bool:
        over = [map_index for map_index, state in states.items() if state in _TASK_IS_OVER]
        if not over or len(over) == len(states):
            return bool(over)
        # Airflow gives the records of a mapped task without their indexes.
        for map_index in over:
            record = fetch_ownership(self._kind, InstanceName(dag_id, run_id, task_id, map_index))
            if record is not None and record.external_id == external_id:
                return True
        return False


def _fetch_states(dag_id: str) -> dict[str, dict[str, str | None]]:
    """Fetch the states of all task instances of a DAG, by run and by name, as Airflow's API names them."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    by_run = RuntimeTaskInstance.get_task_states(dag_id=dag_id)
    return {run_id: {name: _value(state) for name, state in states.items()} for run_id, states in by_run.items()}


def _runs_to_read(by_run: Mapping[str, Mapping[str, str | None]], earliest: datetime | None) -> list[str]:
    """Choose runs, unfinished ones first, and then those that began last or whose id does not say when."""
    unfinished: list[str] = []
    finished: list[tuple[datetime, str]] = []
    for run_id, states in by_run.items():
        if any(state not in _TASK_IS_OVER for state in states.values()):
            unfinished.append(run_id)
            continue
        began = _time_in(run_id)
        if began is None or earliest is None or began >= earliest:
            finished.append((began or _LATEST, run_id))
    return unfinished + [run_id for _, run_id in sorted(finished, reverse=True)]


def _time_in(run_id: str) -> datetime | None:
    match = None if run_id.startswith(_BACKFILL) else _TIME_IN_RUN_ID.search(run_id)
    return None if match is None else parse_timestamp(match.group())


def _value(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))
