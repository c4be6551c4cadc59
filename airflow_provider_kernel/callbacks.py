"""Callbacks for DAGs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.client.unset import UNSET

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier


def cancel_kernel_invocations(context: Context) -> None:
    """
    End every invocation that a task of this DAG run owns and that still runs.

    Pass it to a DAG as ``on_failure_callback``. It runs in the DAG processor, and so also when no process of the
    task is left to cancel: after a SIGKILL without retries, a SIGINT, or the loss of the triggerer. Tasks with
    ``cancel_on_kill=False`` or ``wait_for_completion=False`` own none. An invocation that cannot be ended is
    logged, and does not keep the others from their end.
    """
    from airflow_provider_kernel.lifecycle.safety_net import end_owned_by_run
    from airflow_provider_kernel.owned import kinds

    end_owned_by_run(context, kinds())


def complete_kernel_invocation(
    output: Any = UNSET, *, output_from: str | None = None, **options: Any
) -> KernelInvocationNotifier:
    """
    Make a callback that ends the invocation which waits for a DAG run as ``succeeded``.

    Pass it to a DAG as ``on_success_callback``. An invocation that has already ended stays as it is.

    The arguments are those of :class:`~airflow_provider_kernel.notifications.kernel.KernelInvocationNotifier`.
    """
    from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier

    return KernelInvocationNotifier(status="succeeded", output=output, output_from=output_from, **options)


def fail_kernel_invocation(reason: str | None = None, **options: Any) -> KernelInvocationNotifier:
    """
    Make a callback that ends the invocation which waits for a DAG run as ``failed``, and ends its browsers.

    Pass it to a DAG as ``on_failure_callback``. It runs in the DAG processor, and so also when the task's process
    was killed with SIGKILL. An invocation that has already ended stays as it is.

    The arguments are those of :class:`~airflow_provider_kernel.notifications.kernel.KernelInvocationNotifier`.
    """
    from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier

    return KernelInvocationNotifier(status="failed", reason=reason, **options)
