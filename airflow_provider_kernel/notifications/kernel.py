"""The notifier that ends an invocation when a DAG run or a task is over, or a deadline is missed."""

from __future__ import annotations

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
from airflow_provider_kernel.invocation_arguments import check_arguments
from airflow_provider_kernel.lifecycle.occasion import (
    Occasion,
    describe_task_end,
    is_of_deadline,
    occasion_of,
    with_run_id,
)
from airflow_provider_kernel.lifecycle.resource import EndReason
from airflow_provider_kernel.lifecycle.task_instances import call_from_loop, fetch_task_states, run_id_of
from airflow_provider_kernel.templating import TextRenderingMixin, read_values

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.client.flow import Flow
    from airflow_provider_kernel.client.resources.invocations.models import Invocation
    from airflow_provider_kernel.hooks.kernel import KernelHook

log = get_logger(__name__)

#: Max seconds of retries. The DAG processor kills a callback after 50 s by default, parsing included.
_MAX_RETRY_SECONDS = 25.0
#: The template fields without which nothing can be ended.
_TARGET_FIELDS = ("invocation_id", "kernel_conn_id")


class KernelInvocationNotifier(TextRenderingMixin, SafeLogMixin, BaseNotifier):
    """
    End the invocation that waits for a DAG run, by what has called the notifier.

    - A DAG's ``on_success_callback`` and ``on_failure_callback``. They run in the DAG processor, so they also run
      after a task was killed by SIGKILL. One object serves as both::

        end = KernelInvocationNotifier(output_from="summarize")
        DAG(..., on_success_callback=end, on_failure_callback=end)

    - A task's ``on_success_callback``, ``on_failure_callback`` and ``on_skipped_callback``: the task has the last
      word, and the run may go on. A retry ends nothing. An ``on_execute_callback`` needs a ``status``.
    - The callback of a ``DeadlineAlert``: give the class, not an object, and its arguments::

        AsyncCallback(KernelInvocationNotifier, kwargs={"reason": "Too late"})

      The invocation ends as failed unless ``status`` is given; the run goes on.

    If the invocation has already ended, or the run has none, the notifier only logs that. Airflow (3.3.2) calls no
    DAG callback when a user marks the run itself rather than one of its tasks; a running
    ``@task.kernel_invocation`` does notice that.

    :param status: ``"succeeded"`` or ``"failed"``. Default: the status of the DAG run or task; ``"failed"`` for a
        skipped task and a missed deadline.
    :param output: the output of a success: any value that JSON can hold (templated).
    :param output_from: instead of ``output``, the id of the task whose return value is the output; for a mapped
        task, the list of all return values. A ``DeadlineAlert`` cannot read it, and ends the invocation as failed.
    :param reason: the reason of a failure (templated). Default: how the run failed, and which tasks failed; for a
        task's callback, how the task ended; for a ``DeadlineAlert``, that the deadline was missed.
    :param invocation_id: id of the invocation (templated). Default: ``kernel_invocation_id`` in the DAG run's
        ``conf``. If all tasks of a run were skipped, Airflow passes no ``conf``; the id is then taken from a run id
        of the form ``kernel__<id>``.
    :param max_output_bytes: the largest output, in bytes of JSON. If the output is larger, or cannot be sent for
        another reason, the invocation ends as ``failed``.
    :param kernel_conn_id: id of an Airflow connection of type ``kernel`` (templated).
    :param context: what Airflow has called it with; only Airflow passes it, for a ``DeadlineAlert``.
    :raises KernelInputError: when an argument cannot work, or arguments contradict each other.
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
        context: Context | None = None,
    ) -> None:
        super().__init__(context)
        self.status = status
        self.output = output
        self.output_from = output_from
        self.reason = reason
        self.invocation_id = invocation_id
        self.max_output_bytes = max_output_bytes
        self.kernel_conn_id = kernel_conn_id
        #: Of a rendered copy: the notifier of the DAG file, and what could not be rendered.
        self._callback: KernelInvocationNotifier | None = None
        self._unrendered: str | None = None
        check_arguments(self)

    def __call__(self, *args: Any, context: Context | None = None) -> None:
        """
        Do what :meth:`notify` does, for a context that Airflow passes.

        :raises KernelInputError: when there is no context, and the arguments do not make up for it.
        """
        if len(args) > 1:
            raise KernelInputError(f"The notifier was called with {len(args)} values; it takes one, the context")
        given = with_run_id((args[0] if args else context) or self.context)
        self._rendered(given).notify(given)

    def __await__(self) -> Generator[Any, None, None]:
        return self._await_end().__await__()

    async def _await_end(self) -> None:
        context = with_run_id(self.context)
        # On a thread: a template may read from Airflow, which blocks.
        rendered = await call_from_loop(lambda: self._rendered(context))
        await rendered.async_notify(context)

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
        # On a thread: reading states and XCom from Airflow blocks.
        end = await call_from_loop(lambda: self._decide_end(context))
        if end is not None:
            async with await self._hook().get_async_conn() as client:
                await client.run(end.flow())

    def _hook(self) -> KernelHook:
        from airflow_provider_kernel.client.retry import RetryPolicy
        from airflow_provider_kernel.hooks.kernel import KernelHook

        return KernelHook(self.kernel_conn_id, retry=RetryPolicy(max_seconds=_MAX_RETRY_SECONDS))

    def _rendered(self, context: Context) -> KernelInvocationNotifier:
        """Render the templates in a copy: the DAG processor may use one notifier for several runs."""
        if not context and (self.status is None or self.invocation_id == INVOCATION_ID_FROM_CONF):
            raise KernelInputError(
                "The notifier was called without a context, so that it knows neither the invocation nor how to end "
                "it. Pass the context that Airflow passes to a callback, or give status and invocation_id"
            )
        rendered = copy.copy(self)
        rendered._callback = self
        dag: Any = context.get("dag")
        # ``dag.test()`` passes the serialized DAG, which has no template environment.
        environment = rendered.get_template_env(dag if hasattr(dag, "get_template_env") else None)
        rendered._do_render_template_fields(rendered, _TARGET_FIELDS, context, environment, set())
        try:
            contents = [name for name in self.template_fields if name not in _TARGET_FIELDS]
            rendered._do_render_template_fields(rendered, contents, context, environment, set())
            if isinstance(self.output, str) and rendered.output is self.output:
                # Before Airflow 3.3, a template that renders to an empty string is left unrendered.
                rendered.output = rendered.render_template(self.output, context, environment)
        except Exception as error:
            # The caller must not wait forever. What there is to render differs by what calls the notifier.
            log.exception("The output or the reason cannot be rendered")
            rendered._unrendered = f"The output or the reason cannot be rendered: {type(error).__name__}: {error}"
        run_id = str(context.get("run_id") or "")
        if self.invocation_id == INVOCATION_ID_FROM_CONF and "dag_run" not in context:
            # If no task has run, Airflow passes no dag_run; the run id may still hold the invocation's id.
            rendered.invocation_id = run_id.removeprefix(RUN_ID_PREFIX) if run_id.startswith(RUN_ID_PREFIX) else ""
        return rendered

    def _decide_end(self, context: Context) -> InvocationEnd | None:
        """Decide how to end the invocation; ``None`` if nothing is to be ended."""
        occasion = occasion_of(context, self._callback or self)
        if occasion is Occasion.TASK_RETRY:
            log.info("The task is tried again, so invocation %s is left to its next try", self.invocation_id)
            return None
        if occasion is Occasion.TASK_EXECUTE and self.status is None:
            raise KernelInputError(
                "The notifier was called while the task runs, as its on_execute_callback or by its code, so that "
                "there is no status yet. Pass it as on_success_callback and on_failure_callback, or give status"
            )
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
        if self._unrendered is not None:
            return InvocationEnd(self.invocation_id, reason=sanitize_line(redact(self._unrendered)))
        is_success = occasion.is_success if self.status is None else self.status == InvocationStatus.SUCCEEDED.value
        if not is_success:
            reason = sanitize_line(redact(self.reason or _describe(occasion, context)))
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


def _describe(occasion: Occasion, context: Context) -> str:
    """Write, for people, why an invocation has failed."""
    if occasion is Occasion.DEADLINE:
        return str(EndReason.RUN_LATE)
    if occasion is Occasion.RUN_SUCCESS:
        return str(EndReason.RUN_OVER)
    if occasion is Occasion.RUN_FAILURE:
        return _describe_failed_run(context)
    return describe_task_end(occasion, context)


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

    if is_of_deadline(context):
        raise KernelInputError(
            f"output_from is {task_id!r}; the callback of a DeadlineAlert cannot read what a task has returned"
        )
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
