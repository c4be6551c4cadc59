"""Airflow as the processes of a task have it: the operator in them, and the API that they talk to."""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import httpx
import psutil
import structlog
from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms, InProcessTestSupervisor
from support.execution_api import ExecutionAPI
from support.histories.clock import CLOCK
from support.histories.plans import RESUMING
from support.histories.process import Process, current

from airflow_provider_kernel.lifecycle.names import ownership_key
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

OWNER_KEY = ownership_key("invocation")
STORE_KEY = "kernel_invocation"
#: A wait that lasts longer than this, on the clock of the histories, is wrong.
LONGEST_WAIT = 5_000.0


class Operator(KernelInvokeOperator):
    """The operator, with something happening while it waits."""

    happens = staticmethod(lambda invocation_id: None)

    def run_with_hook(self, context):
        current().operator = self  # Airflow runs a copy of the task
        wait = self.hook.wait_for_invocation

        def happen_and_wait(invocation_id, *, deadline, **options):
            self.happens(invocation_id)
            # Rather than hang, when something is wrong.
            return wait(invocation_id, deadline=min(deadline, CLOCK.time() + LONGEST_WAIT), **options)

        self.hook.wait_for_invocation = happen_and_wait
        return super().run_with_hook(context)

    def resume_execution(self, next_method, next_kwargs, context):
        current().operator = self
        current().at(RESUMING)
        return super().resume_execution(next_method, next_kwargs, context)


class API(ExecutionAPI):
    """An Execution API for one of several siblings, which takes nothing from a dead process."""

    siblings: list[API]
    map_index = -1
    try_number = 1
    #: The id of the task instance; a retry and a clear give it a new one.
    ti_id: uuid.UUID | None = None
    #: The ids that an ownership record has ever named.
    published: set[str]
    #: Whether the present try has written an ownership record.
    has_published = False

    def _act(self, method, path, request):
        process = current()
        if process.is_dead():
            return httpx.Response(204 if method != "GET" else 404)
        if path.startswith("/xcoms/d/") and method == "GET":
            return self._xcoms(path, request)
        if path == "/task-instances/states":
            return self._states(request)
        if path.startswith(("/store/ti/", "/task-instances/")) and self._is_old(process):
            # What Airflow answers to a process whose task instance has got another id.
            return httpx.Response(404, json={"detail": {"reason": "not_found", "message": "no such task instance"}})
        before, after = self._points(method, path, request)
        process.at(before)
        if path.startswith("/store/ti/") and self._is_old(process):  # it was suspended just now
            return httpx.Response(404, json={"detail": {"reason": "not_found", "message": "no such task instance"}})
        answer = super()._act(method, path, request)
        if path.endswith(f"/{STORE_KEY}") and answer.is_success:
            process.has_records = True
        if method == "POST" and path.endswith(f"/{OWNER_KEY}"):
            process.has_records = True
            self.has_published |= not self._is_old(process)
            self.published.add(self.xcoms[OWNER_KEY]["external_id"])
        process.at(after)
        return answer

    def _is_old(self, process: Process) -> bool:
        return process.ti_id is not None and process.ti_id != self.ti_id

    def _points(self, method, path, request):
        if method == "PUT" and path.endswith(f"/{STORE_KEY}"):
            entry = json.loads(request.content)["value"]
            if entry["is_closed"]:
                return "before the end is stored", None
            what = "intent" if entry["external_id"] is None else "id"
            return f"before the {what} is stored", f"after the {what} is stored"
        if method == "POST" and path.endswith("/return_value"):
            return "before the result is pushed", "before the task ends"
        return None, None

    def _xcoms(self, path, request):
        key = path.split("/")[5]
        if path.endswith("/slice"):
            return httpx.Response(200, json=[api.xcoms[key] for api in self.siblings if key in api.xcoms])
        index = int(request.url.params.get("map_index", -1))
        for api in self.siblings:
            if api.map_index == index and key in api.xcoms:
                return httpx.Response(200, json={"key": key, "value": api.xcoms[key]})
        return httpx.Response(404, json={"detail": {"reason": "not_found", "message": "no such XCom"}})

    def _states(self, request):
        index = request.url.params.get("map_index")
        states = {}
        for api in self.siblings:
            name = "t" if api.map_index < 0 else f"t_{api.map_index}"
            if api.task_state and (index is None or int(index) == api.map_index):
                states[name] = api.task_state
        return httpx.Response(200, json={"task_states": {"r": states}})

    def _run_context(self):
        return {**super()._run_context(), "should_retry": self.try_number <= self.max_tries}


def comms_with(api: ExecutionAPI) -> Any:
    """Connect a process that runs no task, such as a triggerer, to the API."""
    supervisor = InProcessTestSupervisor(
        id=uuid.uuid4(),
        pid=os.getpid(),
        process=psutil.Process(),
        process_log=structlog.get_logger(),
        client=api.client(),
    )
    supervisor.comms = InProcessSupervisorComms(supervisor=supervisor)
    return supervisor.comms
