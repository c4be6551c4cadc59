"""Callbacks for DAGs and tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.unset import UNSET

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier


Callback = Callable[["Context"], object]


_WHERE_THE_NET_BELONGS = (
    "A missed deadline does not end the DAG run, so that there is nothing yet to clean up. Pass the safety net to "
    "the DAG, DAG(..., **kernel_safety_net()). To end the invocation that waits for the run, give the "
    "DeadlineAlert a KernelInvocationNotifier; to end late runs, give the DAG a dagrun_timeout"
)


_WHERE_THE_NET_OF_A_TASK_BELONGS = (
    "It ends what one task owns, and only a callback of that task knows which. Pass it to the tasks, "
    "DAG(..., default_args=kernel_task_safety_net()), beside the DAG's own safety net, **kernel_safety_net()"
)


class SafetyNet(dict[str, Any]):
    """The arguments ``on_failure_callback`` and ``on_success_callback`` of a DAG that are the safety net."""

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to be a callback: Airflow calls what it is given for one, and takes silence for success."""
        raise KernelInputError(
            f"kernel_safety_net() is no callback; it makes the arguments of a DAG. {_WHERE_THE_NET_BELONGS}"
        )


class TaskSafetyNet(dict[str, Any]):
    """The argument ``on_failure_callback`` of tasks that adds to the safety net."""

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to be a callback, as :class:`SafetyNet` does."""
        raise KernelInputError(
            "kernel_task_safety_net() is no callback; it makes arguments of tasks. "
            f"{_WHERE_THE_NET_OF_A_TASK_BELONGS}"
        )


def kernel_safety_net(
    on_failure: Callback | Sequence[Callback] | None = None, on_success: Callback | Sequence[Callback] | None = None
) -> SafetyNet:
    """
    Make the callbacks of a DAG that end what its runs leave running at Kernel: ``DAG(..., **kernel_safety_net())``.

    Each is a list of :func:`cancel_kernel_invocations` and your own callbacks, in this order. Airflow logs an error
    of one, and calls the others all the same.

    :param on_failure: your own callbacks for runs that fail, one or several.
    :param on_success: the same for runs that succeed.
    """
    return SafetyNet(
        on_failure_callback=[cancel_kernel_invocations, *_as_list(on_failure)],
        on_success_callback=[cancel_kernel_invocations, *_as_list(on_success)],
    )


def kernel_task_safety_net(on_failure: Callback | Sequence[Callback] | None = None) -> TaskSafetyNet:
    """
    Make an addition to the safety net, for the tasks of a DAG: ``DAG(..., default_args=kernel_task_safety_net())``.

    The DAG's net ends what a task has left when the run is over. This ends it when the task has failed, which may
    be long before, but only where Airflow calls a task's callback: after an error in the task's process, and when
    the scheduler finds that a worker is lost. It is no replacement for :func:`kernel_safety_net`.

    With other defaults: ``default_args={"retries": 2, **kernel_task_safety_net()}``. It is a list of
    :func:`cancel_kernel_task_invocation` and your own callbacks, in this order; Airflow logs an error of one, and
    calls the others all the same. A task with an ``on_failure_callback`` of its own has that instead.

    :param on_failure: your own callbacks for tasks that fail, one or several.
    """
    return TaskSafetyNet(on_failure_callback=[cancel_kernel_task_invocation, *_as_list(on_failure)])


def cancel_kernel_task_invocation(context: Context) -> None:
    """
    End the invocation or browser that this task instance owns and that still runs, if no other try follows.

    Pass it to a task as ``on_failure_callback``; :func:`kernel_task_safety_net` does that for all tasks of a DAG.
    It does nothing for a retry, for a task that was cleared and runs again, and for one that owns nothing.

    It tries until 10 seconds before Airflow would kill its process: a task's own 20 seconds after its end
    (``[core] task_success_overtime``), the DAG processor as for :func:`cancel_kernel_invocations`.

    :raises KernelInputError: when a DAG or a ``DeadlineAlert`` calls it.
    """
    from airflow_provider_kernel.lifecycle.occasion import Occasion, occasion_of
    from airflow_provider_kernel.lifecycle.safety_net import end_owned_by_task
    from airflow_provider_kernel.owned import kinds

    occasion = occasion_of(context, cancel_kernel_task_invocation)
    if occasion in (Occasion.RUN_SUCCESS, Occasion.RUN_FAILURE, Occasion.DEADLINE):
        raise KernelInputError(
            f"The safety net of a task was called as {occasion.value}. {_WHERE_THE_NET_OF_A_TASK_BELONGS}"
        )
    if occasion.ends_task:
        ti: Any = context["ti"]
        end_owned_by_task(context, kinds(dag_id=ti.dag_id, run_id=ti.run_id))


def cancel_kernel_invocations(context: Context) -> None:
    """
    End every invocation and every browser that a task of this DAG run owns and that still runs.

    Pass it to a DAG as ``on_failure_callback`` and ``on_success_callback``; :func:`kernel_safety_net` does both. It
    runs in the DAG processor, and so also when no process of the task is left to cancel: after a SIGKILL, a SIGINT,
    or the loss of the triggerer. Tasks with ``cancel_on_kill=False`` or ``wait_for_completion=False`` own none.

    It tries until 10 seconds before Airflow would kill its process, all of them at once. One that cannot be
    ended is logged, and does not keep the others from their end.

    :raises KernelInputError: when a ``DeadlineAlert`` calls it: a missed deadline does not end the run.
    """
    from airflow_provider_kernel.lifecycle.occasion import is_of_deadline
    from airflow_provider_kernel.lifecycle.safety_net import end_owned_by_run
    from airflow_provider_kernel.lifecycle.task_instances import run_id_of
    from airflow_provider_kernel.owned import kinds

    if is_of_deadline(context):
        raise KernelInputError(f"The safety net was called for a missed deadline. {_WHERE_THE_NET_BELONGS}")
    end_owned_by_run(context, kinds(dag_id=context["dag"].dag_id, run_id=run_id_of(context)))


def complete_kernel_invocation(
    output: Any = UNSET, *, output_from: str | None = None, **options: Any
) -> KernelInvocationNotifier:
    """
    Make a callback that ends the invocation which waits for a DAG run as ``succeeded``.

    Pass it to a DAG, or to a task, as ``on_success_callback``. An invocation that has already ended stays as it is.

    The arguments are those of :class:`~airflow_provider_kernel.notifications.kernel.KernelInvocationNotifier`.
    """
    from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier

    return KernelInvocationNotifier(status="succeeded", output=output, output_from=output_from, **options)


def fail_kernel_invocation(reason: str | None = None, **options: Any) -> KernelInvocationNotifier:
    """
    Make a callback that ends the invocation which waits for a DAG run as ``failed``, and ends its browsers.

    Pass it to a DAG, or to a task, as ``on_failure_callback``. A DAG's runs in the DAG processor, and so also
    when the task's process was killed with SIGKILL. An invocation that has already ended stays as it is.

    The arguments are those of :class:`~airflow_provider_kernel.notifications.kernel.KernelInvocationNotifier`.
    """
    from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier

    return KernelInvocationNotifier(status="failed", reason=reason, **options)


def _as_list(callbacks: Callback | Sequence[Callback] | None) -> list[Callback]:
    if callbacks is None:
        return []
    return [callbacks] if callable(callbacks) else list(callbacks)
