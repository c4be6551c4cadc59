"""The notifier that ends an invocation when a DAG run is over."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from airflow_provider_kernel.client.errors import KernelError, KernelInputError
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.safe_logger import SafeLogMixin, get_logger
from airflow_provider_kernel.client.sanitize import sanitize_line
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.client.validation import is_missing
from airflow_provider_kernel.connection_form import DEFAULT_CONN_ID
from airflow_provider_kernel.handoff import (
    CONF_KEY,
    INVOCATION_ID_FROM_CONF,
    MAX_OUTPUT_BYTES,
    RUN_ID_PREFIX,
    check_output,
    redact,
)
from airflow_provider_kernel.lifecycle.resource import EndReason
from airflow_provider_kernel.lifecycle.task_instances import fetch_task_states, run_id_of
from airflow_provider_kernel.templating import TextRenderingMixin, read_values

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.client.flow import Flow
    from airflow_provider_kernel.client.resources.invocations.models import Invocation
    from airflow_provider_kernel.hooks.kernel import KernelHook

log = get_logger(__name__)

#: Max seconds of retries. The DAG processor kills a callback after 50 s by default, parsing included.
_MAX_RETRY_SECONDS = 25.0


class KernelInvocationNotifier(TextRenderingMixin, SafeLogMixin, BaseNotifier):
    """
    End the invocation that waits for a DAG run, when the run is over.

    For a DAG's ``on_success_callback`` and ``on_failure_callback``. They run in the DAG processor, so they also run
    after a task was killed by SIGKILL. One object serves as both::

        end = KernelInvocationNotifier(output_from="summarize")
        DAG(..., on_success_callback=end, on_failure_callback=end)

    If the invocation has already ended, or the run has none, the notifier only logs that. Airflow (3.3.2) calls no
    DAG callback when a user marks the run itself rather than one of its tasks; a running
    ``@task.kernel_invocation`` does notice that.

    :param status: ``"succeeded"`` or ``"failed"``. Default: the status of the DAG run.
    :param output: the output of a success: any value that JSON can hold (templated).
    :param output_from: instead of ``output``, the id of the task whose return value is the output; for a mapped
        task, the list of all return values.
    :param reason: the reason of a failure (templated). Default: how the run failed, and which tasks failed.
    :param invocation_id: id of the invocation (templated). Default: ``kernel_invocation_id`` in the DAG run's
        ``conf``. If all tasks of a run were skipped, Airflow passes no ``conf``; the id is then taken from a run id
        of the form ``kernel__<id>``.
    :param max_output_bytes: the largest output, in bytes of JSON. If the output is larger, or cannot be sent for
        another reason, the invocation ends as ``failed``.
    :param kernel_conn_id: id of an Airflow connection of type ``kernel`` (templated).
    :raises KernelInputError: when the arguments contradict each other.
    """

    template_fields: Sequence[str] = ("output", "reason", "invocation_id", "kernel_conn_id")

    def __init__(
        self,
        *,
        status: str | None = None,
        output: Any = UNSET,
        output_from: str | None = None,
        reason: str | None = None,
        invocation_id: str = INVOCATION_ID_FROM_CONF,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        kernel_conn_id: str = DEFAULT_CONN_ID,
    ) -> None:
        super().__init__()
        self.status = status
        self.output = output
        self.output_from = output_from
        self.reason = reason
        self.invocation_id = invocation_id
        self.max_output_bytes = max_output_bytes
        self.kernel_conn_id = kernel_conn_id
        if status not in (None, InvocationStatus.SUCCEEDED.value, InvocationStatus.FAILED.value):
            raise KernelInputError(
                f"status is {status!r}; it takes 'succeeded', 'failed', or None for the run's own"
            )
        if output_from is not None and output is not UNSET:
            raise KernelInputError("both output and output_from are given; an invocation has one output")

    def __call__(self, *args: Any) -> None:
        self._rendered(args[0]).notify(args[0])

    def __await__(self) -> Generator[Any, None, None]:
        return self._rendered(self.context).async_notify(self.context).__await__()

    def notify(self, context: Context) -> None:
        """
        End the invocation.

        :raises KernelError: when the invocation could not be ended within 25 s of retries.
        """
        end = self._decide_end(context)
        if end is not None:
            with self._hook() as hook:
                hook.get_conn().run(end.flow())

    async def async_notify(self, context: Context) -> None:
        """Do what :meth:`notify` does, without blocking the event loop."""
        # In a thread: reading states and XCom from Airflow blocks.
        end = await asyncio.to_thread(self._decide_end, context)
        if end is not None:
            async with await self._hook().get_async_conn() as client:
                await client.run(end.flow())

    def _hook(self) -> KernelHook:
        from airflow_provider_kernel.client.retry import RetryPolicy
        from airflow_provider_kernel.hooks.kernel import KernelHook

        return KernelHook(self.kernel_conn_id, retry=RetryPolicy(max_seconds=_MAX_RETRY_SECONDS))

    def _rendered(self, context: Context) -> KernelInvocationNotifier:
        """Render the templates in a copy: the DAG processor may use one notifier for several runs."""
        rendered = copy.copy(self)
        dag: Any = context.get("dag")
        # ``dag.test()`` passes the serialized DAG, which has no template environment.
        environment = rendered.get_template_env(dag if hasattr(dag, "get_template_env") else None)
        rendered.render_template_fields(context, environment)
        if isinstance(self.output, str) and rendered.output is self.output:
            # Before Airflow 3.3, a template that renders to an empty string is left unrendered.
            rendered.output = rendered.render_template(self.output, context, environment)
        run_id = str(context.get("run_id") or "")
        if self.invocation_id == INVOCATION_ID_FROM_CONF and "dag_run" not in context:
            # If no task has run, Airflow passes no dag_run; the run id may still hold the invocation's id.
            rendered.invocation_id = run_id.removeprefix(RUN_ID_PREFIX) if run_id.startswith(RUN_ID_PREFIX) else ""
        return rendered

    def _decide_end(self, context: Context) -> InvocationEnd | None:
        """Decide how to end the invocation; ``None`` if there is none."""
        if is_missing(self.invocation_id):
            if "dag_run" in context:
                log.info("The DAG run has no %s in its conf, so no invocation waits for it", CONF_KEY)
            else:
                log.error(
                    "No task of DAG run %s has run, so Airflow passes no conf, and the id of a waiting invocation "
                    "is unknown. Such an invocation ends at its own time limit. To avoid this, trigger the DAG "
                    "with the run id %s<invocation id>",
                    context.get("run_id"),
                    RUN_ID_PREFIX,
                )
            return None
        status = self.status or _status_of_run(context)
        if status != InvocationStatus.SUCCEEDED.value:
            reason = sanitize_line(redact(self.reason or _describe_failed_run(context)))
            return InvocationEnd(self.invocation_id, reason=reason)
        try:
            output = self.output if self.output_from is None else _read_return_value(self.output_from, context)
            if output is not UNSET:
                check_output(output, self.max_output_bytes)
        except KernelInputError as error:
            log.error("Invocation %s gets no output: %s", self.invocation_id, error)  # noqa: TRY400
            return InvocationEnd(self.invocation_id, reason=sanitize_line(str(error)))
        except Exception:
            # Any error, such as a missing supervisor in dag.test(): the caller must not wait forever.
            log.exception("The output for invocation %s cannot be read from Airflow", self.invocation_id)
            return InvocationEnd(self.invocation_id, reason="The output could not be read from Airflow")
        return InvocationEnd(self.invocation_id, output=output)


@dataclass(frozen=True)
class InvocationEnd:
    """How an invocation is to end: as failed with a reason; without one, as succeeded with an output."""

    invocation_id: str
    output: Any = field(default=UNSET, repr=False)
    reason: str | None = None

    def flow(self) -> Flow[None]:
        """End the invocation unless it has already ended, and log how it ended."""
        invocation, had_ended = yield from self._end()
        what = "had already ended as" if had_ended else "is now"
        log.info("Invocation %s %s %s", invocation.id, what, invocation.status)

    def _end(self) -> Flow[tuple[Invocation, bool]]:
        from airflow_provider_kernel.client.resources.invocations import flows, requests

        if self.reason is None:
            try:
                return (yield from flows.answer_invocation(self.invocation_id, self.output)), False
            except KernelInvocationFinishedError as finished:
                return finished.invocation, True
            except KernelError as refusal:
                if not refusal.permanent:
                    raise
                # If Kernel refuses the output, end as failed: the caller must not wait forever.
                why = sanitize_line(f"{type(refusal).__name__}: {refusal}")
                return (yield from InvocationEnd(self.invocation_id, reason=why)._end())
        before = yield from requests.get_invocation(self.invocation_id)
        if before.is_final:
            return before, True
        cancellation = yield from flows.cancel_invocation(self.invocation_id, self.reason)
        return cancellation.invocation, cancellation.was_over


def _status_of_run(context: Context) -> str:
    """Return how the run ended. In doubt it is "failed", which cannot be mistaken for a result."""
    state = str(getattr(getattr(context.get("dag_run"), "state", None), "value", ""))
    # The run's state decides; without it, the reason that Airflow passes to the callback.
    if state == "success" or (not state and context.get("reason") == "success"):
        return InvocationStatus.SUCCEEDED.value
    return InvocationStatus.FAILED.value


def _describe_failed_run(context: Context) -> str:
    try:
        failed = _failed_tasks(context)
    except Exception:
        log.exception("The failed tasks cannot be read from Airflow")
        failed = []
    reason: Any = context.get("reason")
    why = f" ({reason})" if reason in ("all_tasks_deadlocked", "timed_out") else ""
    summary = f"{EndReason.RUN_FAILED}{why}"
    if not failed:
        return summary
    names = ", ".join(failed[:10]) + (f" and {len(failed) - 10} more" if len(failed) > 10 else "")
    return f"{summary}; failed: {names}"


def _failed_tasks(context: Context) -> list[str]:
    dag: Any = context["dag"]
    found = [name for name, state in fetch_task_states(dag.dag_id, run_id_of(context)).items() if state == "failed"]
    return sorted(_display_name(name, dag.task_ids) for name in found)


def _display_name(name: str, task_ids: Sequence[str]) -> str:
    """Write ``visit_3``, as Airflow names a mapped task instance, as ``visit[3]``."""
    task_id, _, index = name.rpartition("_")
    return name if name in task_ids or task_id not in task_ids else f"{task_id}[{index}]"


def _read_return_value(task_id: str, context: Context) -> Any:
    """Read a task's return value; for a mapped task, the list of all."""
    from airflow.sdk.execution_time.xcom import XCom

    dag: Any = context["dag"]
    if task_id not in dag.task_ids:
        raise KernelInputError(f"output_from is {task_id!r}; there is no such task in DAG {dag.dag_id}")
    task = dag.get_task(task_id)
    is_mapped = getattr(task, "is_mapped", False) or task.get_closest_mapped_task_group() is not None
    found = XCom.get_all(key="return_value", dag_id=dag.dag_id, task_id=task_id, run_id=run_id_of(context))
    if is_mapped:
        return read_values(list(found or ()))
    if found:
        return read_values(found[0])
    state = fetch_task_states(dag.dag_id, run_id_of(context), task_ids=[task_id]).get(task_id)
    if state != "success":
        raise KernelInputError(f"task {task_id!r} is {state or 'not there'}, so that there is no output")
    return None
