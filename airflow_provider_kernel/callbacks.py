"""Callbacks for DAGs."""

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


class SafetyNet(dict[str, Any]):
    """The arguments ``on_failure_callback`` and ``on_success_callback`` of a DAG that are the safety net."""

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to be a callback: Airflow calls what it is given for one, and takes silence for success."""
        raise KernelInputError(
            f"kernel_safety_net() is no callback; it makes the arguments of a DAG. {_WHERE_THE_NET_BELONGS}"
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


def cancel_kernel_invocations(context: Context) -> None:
    """
    End every invocation that a task of this DAG run owns and that still runs.

    Pass it to a DAG as ``on_failure_callback`` and ``on_success_callback``; :func:`kernel_safety_net` does both. It
    runs in the DAG processor, and so also when no process of the task is left to cancel: after a SIGKILL, a SIGINT,
    or the loss of the triggerer. Tasks with ``cancel_on_kill=False`` or ``wait_for_completion=False`` own none.

    It tries until 10 seconds before Airflow would kill its process, all invocations at once. One that cannot be
    ended is logged, and does not keep the others from their end.

    :raises KernelInputError: when a ``DeadlineAlert`` calls it: a missed deadline does not end the run.
    """
    from airflow_provider_kernel.lifecycle.occasion import is_of_deadline
    from airflow_provider_kernel.lifecycle.safety_net import end_owned_by_run
    from airflow_provider_kernel.owned import kinds

    if is_of_deadline(context):
        raise KernelInputError(f"The safety net was called for a missed deadline. {_WHERE_THE_NET_BELONGS}")
    end_owned_by_run(context, kinds())


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
