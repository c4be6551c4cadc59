"""The notifier that ends an invocation when a DAG run is over."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from airflow_provider_kernel.client.errors import KernelError, KernelInputError
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.sanitize import sanitize_line
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.handoff import (
    CONF_KEY,
    INVOCATION_ID_FROM_CONF,
    MAX_OUTPUT_BYTES,
    RUN_ID_PREFIX,
    check_output,
    redact,
)
from airflow_provider_kernel.lifecycle.task_instances import fetch_task_states, run_id_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.client.flow import Flow
    from airflow_provider_kernel.client.resources.invocations.models import Invocation
    from airflow_provider_kernel.client.retry import RetryPolicy

log = logging.getLogger(__name__)

#: A callback must be done before the DAG processor loses its patience (50 s by default).
_MAX_SECONDS = 25.0
_FAILED_RUN = frozenset({"task_failure", "all_tasks_deadlocked", "timed_out"})


class KernelInvocationNotifier(BaseNotifier):
    """
    End an invocation that waits for a DAG run, when that is over.

    For a DAG's ``on_success_callback`` and ``on_failure_callback``, which run in the DAG processor and so also when
    a task was killed without a word. The same object will do for both::

        end = KernelInvocationNotifier(output_from="summarize")
        DAG(..., on_success_callback=end, on_failure_callback=end)

    An invocation that is over already is left as it is, and so is a run without an invocation; the log says so.
    Airflow (3.3.2) calls no callback of a DAG when somebody marks its run, rather than a task of it, by hand: a
    running ``@task.kernel_invocation`` hears of that, this does not.

    :param status: ``"succeeded"`` or ``"failed"``; ``None``: as the DAG run ended.
    :param output: for a success, the output: any value that JSON can hold (templated).
    :param output_from: or the id of the task whose returned value is the output; of a mapped task, the list of all.
    :param reason: for a failure, why (templated). Default: how the run failed, and the names of the tasks that did.
    :param invocation_id: the invocation (templated). Default: ``kernel_invocation_id`` in the DAG run's ``conf``.
        Of a run all of whose tasks were skipped Airflow does not tell that; a run id of ``kernel__<id>`` does then.
    :param max_output_bytes: the largest output, as JSON. One that cannot be sent makes the invocation ``failed``.
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
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
        kernel_conn_id: str = "kernel_default",
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
        """
        End the invocation.

        :param args: the context that Airflow calls a callback with.
        """
        self._for(args[0]).notify(args[0])

    def __await__(self) -> Generator[Any, None, None]:
        """End the invocation, from an event loop."""
        return self._for(self.context).async_notify(self.context).__await__()

    def notify(self, context: Context) -> None:
        """
        End the invocation.

        :param context: the context of the DAG run.
        :raises KernelError: when it could not be done.
        """
        from airflow_provider_kernel.hooks.kernel import KernelHook

        ending = self._ending(context)
        if ending is None:
            return
        with KernelHook(self.kernel_conn_id, retry=_patience()) as hook:
            self._tell(hook.get_conn().run(ending.flow()))

    async def async_notify(self, context: Context) -> None:
        """
        Do what :meth:`notify` does, without holding up the event loop.

        :param context: the context of the DAG run.
        :raises KernelError: when it could not be done.
        """
        from airflow_provider_kernel.hooks.kernel import KernelHook

        # In a thread: it may read from Airflow, and wait for that.
        ending = await asyncio.to_thread(self._ending, context)
        if ending is None:
            return
        async with await KernelHook(self.kernel_conn_id, retry=_patience()).get_async_conn() as client:
            self._tell(await client.run(ending.flow()))

    def _for(self, context: Context) -> KernelInvocationNotifier:
        """Render the templates in a copy: the DAG processor may use one notifier for many runs in a row."""
        rendered = copy.copy(self)
        dag: Any = context.get("dag")
        # ``dag.test()`` calls back with a DAG as the database has it, which knows no templates.
        environment = rendered.get_template_env(dag if hasattr(dag, "get_template_env") else None)
        rendered.render_template_fields(context, environment)
        for name in self.template_fields:
            text = getattr(self, name)
            if isinstance(text, str) and getattr(rendered, name) is text:
                # Before Airflow 3.3, a template that renders to nothing is left as it was.
                setattr(rendered, name, rendered.render_template(text, context, environment))
        run_id = str(context.get("run_id") or "")
        if self.invocation_id == INVOCATION_ID_FROM_CONF and "dag_run" not in context:
            # No task has run, and so Airflow makes no context; but the run's id may tell.
            rendered.invocation_id = run_id.removeprefix(RUN_ID_PREFIX) if run_id.startswith(RUN_ID_PREFIX) else ""
        return rendered

    def _ending(self, context: Context) -> Ending | None:
        """Say what is to be done."""
        if not self.invocation_id or self.invocation_id == "None":
            if "dag_run" in context:
                log.info("The DAG run has no %s in its conf: no invocation waits for it", CONF_KEY)
            else:
                log.error(
                    "Airflow does not tell the conf of DAG run %s (no task of it has run), and so not which "
                    "invocation may wait for it; that ends at its own time limit. A run id of %s and the "
                    "invocation's id would tell",
                    context.get("run_id"),
                    RUN_ID_PREFIX,
                )
            return None
        failure = self._failure(context)
        if failure is not None:
            return Ending(self.invocation_id, reason=failure)
        try:
            output = self._output(context)
            if output is not UNSET:
                check_output(output, self.max_output_bytes)
        except KernelInputError as error:
            log.error("Invocation %s gets no output: %s", self.invocation_id, error)  # noqa: TRY400
            return Ending(self.invocation_id, reason=sanitize_line(str(error)))
        except Exception:
            # Whatever it is (dag.test(), say, has nobody to ask): the caller must not wait for ever.
            log.exception("The output for invocation %s cannot be read from Airflow", self.invocation_id)
            return Ending(self.invocation_id, reason="The output could not be read from Airflow")
        return Ending(self.invocation_id, output=output)

    def _failure(self, context: Context) -> str | None:
        """Say why the invocation is to fail, if it is."""
        status = self.status or _status_of_run(context)
        if status == InvocationStatus.SUCCEEDED.value:
            return None
        return sanitize_line(redact(self.reason or _why_it_failed(context)))

    def _output(self, context: Context) -> Any:
        if self.output_from is None:
            return self.output
        return _returned_by(self.output_from, context)

    def _tell(self, ended: tuple[Invocation, bool]) -> None:
        invocation, was_over = ended
        what = "had already ended as" if was_over else "is now"
        log.info("Invocation %s %s %s", invocation.id, what, invocation.status)


@dataclass(frozen=True)
class Ending:
    """
    How an invocation is to end.

    :param invocation_id: the invocation.
    :param output: its output, if it is to succeed.
    :param reason: why it is to fail, if it is.
    """

    invocation_id: str
    output: Any = field(default=UNSET, repr=False)
    reason: str | None = None

    def flow(self) -> Flow[tuple[Invocation, bool]]:
        """
        End it unless it is over.

        :return: the invocation, and whether it was over before.
        """
        from airflow_provider_kernel.client.resources.invocations import flows, requests

        if self.reason is None:
            try:
                return (yield from flows.answer_invocation(self.invocation_id, self.output)), False
            except KernelInvocationFinishedError as finished:
                return finished.invocation, True
            except KernelError as refusal:
                if not refusal.permanent:
                    raise
                # An output that Kernel does not take must not leave the caller waiting.
                why = sanitize_line(f"{type(refusal).__name__}: {refusal}")
                return (yield from Ending(self.invocation_id, reason=why).flow())
        before = yield from requests.get_invocation(self.invocation_id)
        if before.is_final:
            return before, True
        cancellation = yield from flows.cancel_invocation(self.invocation_id, self.reason)
        return cancellation.invocation, cancellation.was_over


def _patience() -> RetryPolicy:
    from airflow_provider_kernel.client.retry import RetryPolicy

    return RetryPolicy(max_seconds=_MAX_SECONDS)


def _status_of_run(context: Context) -> str:
    """Tell how the run ended; in doubt as failed, since nobody can take that for a result."""
    state = str(getattr(getattr(context.get("dag_run"), "state", None), "value", ""))
    # The run's state is what counts; without it, the reason that Airflow gives with the callback.
    if state == "success" or (not state and context.get("reason") == "success"):
        return InvocationStatus.SUCCEEDED.value
    return InvocationStatus.FAILED.value


def _why_it_failed(context: Context) -> str:
    try:
        failed = _failed_tasks(context)
    except Exception:
        log.exception("Airflow does not tell which tasks failed")
        failed = []
    reason: Any = context.get("reason")
    why = f" ({reason})" if reason in _FAILED_RUN - {"task_failure"} else ""
    if not failed:
        return f"The Airflow DAG run failed{why}"
    names = ", ".join(failed[:10]) + (f" and {len(failed) - 10} more" if len(failed) > 10 else "")
    return f"The Airflow DAG run failed{why}; failed: {names}"


def _failed_tasks(context: Context) -> list[str]:
    dag: Any = context["dag"]
    found = [name for name, state in fetch_task_states(dag.dag_id, run_id_of(context)).items() if state == "failed"]
    return sorted(_display_name(name, dag.task_ids) for name in found)


def _display_name(name: str, task_ids: Sequence[str]) -> str:
    """Write ``visit_3``, as Airflow names a mapped task instance, as ``visit[3]``."""
    task_id, _, index = name.rpartition("_")
    return name if name in task_ids or task_id not in task_ids else f"{task_id}[{index}]"


def _returned_by(task_id: str, context: Context) -> Any:
    """
    Read what a task returned.

    :raises KernelInputError: when there is no such task, or when it has not succeeded.
    """
    from airflow.sdk.execution_time.xcom import XCom

    dag: Any = context["dag"]
    if task_id not in dag.task_ids:
        raise KernelInputError(f"output_from is {task_id!r}; there is no such task in DAG {dag.dag_id}")
    task = dag.get_task(task_id)
    is_mapped = getattr(task, "is_mapped", False) or task.get_closest_mapped_task_group() is not None
    found = XCom.get_all(key="return_value", dag_id=dag.dag_id, task_id=task_id, run_id=run_id_of(context))
    if is_mapped:
        return list(found or ())
    if found:
        return found[0]
    state = fetch_task_states(dag.dag_id, run_id_of(context), task_ids=[task_id]).get(task_id)
    if state != "success":
        raise KernelInputError(f"task {task_id!r} is {state or 'not there'}, so that there is no output")
    return None
