"""The package's own operator, trigger and net."""

from __future__ import annotations

from typing import Any

from airflow_provider_kernel.callbacks import (
    cancel_kernel_invocations,
    cancel_kernel_task_invocation,
    kernel_safety_net,
)
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger
from under_test.noted import NotedOperator, NotedTrigger
from under_test.notices import note


class Trigger(NotedTrigger, KernelInvocationTrigger):
    """The trigger."""


class Operator(NotedOperator, KernelInvokeOperator):
    """The operator."""

    noted_trigger = Trigger


def net(context: Any) -> None:
    """Be the DAG's net."""
    note("net", context["dag_run"])
    cancel_kernel_invocations(context)


def net_of_task(context: Any) -> None:
    """Be the net of a task."""
    note("net of the task", context["ti"])
    cancel_kernel_task_invocation(context)


task_net = {"on_failure_callback": net_of_task}


def note_net(context: Any) -> None:
    """Be the user's own callback beside the safety net."""
    note("net", context["dag_run"])


safety_net = kernel_safety_net(on_failure=note_net, on_success=note_net)
