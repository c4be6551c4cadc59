"""
The calls to Airflow's API that a task makes beyond Airflow's own, and why, for each mode.

The page about performance shows this table; ``tests/processes/test_calls.py`` counts them. Imports nothing.
"""

from __future__ import annotations

from typing import NamedTuple


class Call(NamedTuple):
    """
    One call of a task that succeeds in its first try.

    :param request: method and path; an ellipsis stands for names and ids.
    :param modes: the modes that make it, as :data:`MODES` names them.
    :param reason: why.
    """

    request: str
    modes: tuple[str, ...]
    reason: str


#: The modes, as the table names them. One that defers has two processes; the second one makes none of these calls.
MODES = {
    "invoke_blocking": "Operator on a worker",
    "invoke_deferrable": "Deferrable operator",
    "sensor_poke": "Sensor in poke mode",
    "sensor_deferrable": "Deferrable sensor",
}
_INVOKE = ("invoke_blocking", "invoke_deferrable")

#: In the order in which a task makes them.
CALLS = (
    Call("GET store/ti/…/kernel_invocation", _INVOKE, "what an earlier try has started, to take it over"),
    Call("PUT store/ti/…/kernel_invocation", _INVOKE, "the intent, before the create: a crash loses no start"),
    Call("PUT store/ti/…/kernel_invocation", _INVOKE, "the id, before the first poll: the next try reconnects"),
    Call(
        "POST xcoms/…/kernel_invocation_owner",
        _INVOKE,
        "the ownership record: callbacks, the sweep, the trigger and old processes cannot read the store",
    ),
    Call("POST xcoms/…/invocation_id", _INVOKE, "the id for other tasks, while this one runs"),
    Call(
        "POST xcoms/…/_link_KernelDashboardLink",
        ("invoke_blocking", "sensor_poke"),
        "the link while the task waits on a worker; without a template in ``dashboard_url`` there is none",
    ),
    Call(
        "GET task-instances/states",
        ("invoke_deferrable",),
        "whether the task was marked or cleared just before it defers: no signal says so",
    ),
)

#: Airflow's own, of every task; in addition one push of each link of the operator for each process.
OF_AIRFLOW = ("run", "state", "heartbeat", "rtif", "return_value")
