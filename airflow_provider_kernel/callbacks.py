"""Callbacks for DAGs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.lifecycle.task_instances import run_id_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier

log = logging.getLogger(__name__)


def cancel_kernel_invocations(context: Context) -> None:
    """
    Cancel every invocation that a task of this DAG run started and that still runs.

    To be given to a DAG as its ``on_failure_callback``: it runs in the DAG processor, and so also when nothing is
    left of the task that could cancel (a SIGKILL without retries, a SIGINT, a triggerer that is gone). Tasks with
    ``cancel_on_kill=False`` or ``wait_for_completion=False`` are left alone. One invocation that cannot be
    cancelled does not keep it from the others.

    :param context: what Airflow calls the callback with.
    """
    from airflow_provider_kernel.hooks.kernel import KernelHook

    dag, run_id = context["dag"], run_id_of(context)
    for task in dag.tasks:
        arguments = _arguments(task)
        if arguments is None:
            continue
        for invocation_id in _invocation_ids(dag.dag_id, task.task_id, run_id):
            _cancel(invocation_id, str(arguments.get("kernel_conn_id", KernelHook.default_conn_name)))


def complete_kernel_invocation(
    output: Any = UNSET, *, output_from: str | None = None, **options: Any
) -> KernelInvocationNotifier:
    """
    Make a callback that ends the invocation which waits for a DAG run as ``succeeded``.

    To be given to a DAG as its ``on_success_callback``. An invocation that is over already is left as it is.

    :param output: its output, any value that JSON can hold (templated).
    :param output_from: or the id of the task whose returned value is the output.
    :param options: ``invocation_id``, ``kernel_conn_id``, ``max_output_bytes``; see
        :class:`~airflow_provider_kernel.notifications.kernel.KernelInvocationNotifier`.
    """
    from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier

    return KernelInvocationNotifier(status="succeeded", output=output, output_from=output_from, **options)


def fail_kernel_invocation(reason: str | None = None, **options: Any) -> KernelInvocationNotifier:
    """
    Make a callback that ends the invocation which waits for a DAG run as ``failed``, and ends its browsers.

    To be given to a DAG as its ``on_failure_callback``: it runs in the DAG processor, and so also when a task was
    killed without a word. An invocation that is over already is left as it is.

    :param reason: why (templated). Default: how the run failed, and the names of the tasks that did.
    :param options: ``invocation_id``, ``kernel_conn_id``; see
        :class:`~airflow_provider_kernel.notifications.kernel.KernelInvocationNotifier`.
    """
    from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier

    return KernelInvocationNotifier(status="failed", reason=reason, **options)


def _arguments(task: Any) -> dict[str, Any] | None:
    """Read how a task was made, if it is one that owns an invocation; mapped ones are described, not made."""
    from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

    operator_class = getattr(task, "operator_class", type(task))
    if not (isinstance(operator_class, type) and issubclass(operator_class, KernelInvokeOperator)):
        return None
    arguments: dict[str, Any] = getattr(task, "partial_kwargs", None) or vars(task)
    owns = arguments.get("cancel_on_kill", True) and arguments.get("wait_for_completion", True)
    return arguments if owns else None


def _invocation_ids(dag_id: str, task_id: str, run_id: str) -> Iterator[str]:
    from airflow.sdk.execution_time.xcom import XCom

    found = XCom.get_all(key="invocation_id", dag_id=dag_id, task_id=task_id, run_id=run_id)
    for invocation_id in found or ():
        yield str(invocation_id)


def _cancel(invocation_id: str, kernel_conn_id: str) -> None:
    from airflow_provider_kernel.hooks.kernel import KernelHook

    try:
        with KernelHook(kernel_conn_id) as hook:
            if not hook.get_invocation(invocation_id).is_final:
                hook.cancel_invocation(invocation_id, "The Airflow DAG run failed")
    except KernelError:
        log.exception("Invocation %s could not be cancelled", invocation_id)
