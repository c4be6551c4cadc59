"""The processes of a task, and the points at which something may happen to them."""

from __future__ import annotations

import json
import time

import httpx
from support.execution_api import ExecutionAPI

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator


class Crash(BaseException):
    """The process is gone: nothing behind this point has an effect."""


class Process:
    """The process of a try that runs now, if it still does."""

    is_dead = False
    operator = None
    at = staticmethod(lambda point: None)

    def crash(self):
        self.is_dead = True
        raise Crash


PROCESS = Process()


class Operator(KernelInvokeOperator):
    """The operator, with something happening while it waits."""

    happens = staticmethod(lambda invocation_id: None)

    def run_with_hook(self, context):
        PROCESS.operator = self  # Airflow runs a copy of the task
        wait = self.hook.wait_for_invocation

        def happen_and_wait(invocation_id, *, deadline, **options):
            self.happens(invocation_id)
            # Rather than hang, when something is wrong.
            return wait(invocation_id, deadline=min(deadline, time.time() + 20), **options)

        self.hook.wait_for_invocation = happen_and_wait
        return super().run_with_hook(context)


class API(ExecutionAPI):
    """An Execution API for one of several siblings, which takes nothing from a dead process."""

    siblings: list[API]
    try_number = 1

    def _act(self, method, path, request):
        if PROCESS.is_dead:
            return httpx.Response(204 if method != "GET" else 404)
        if path.endswith("/slice"):
            key = path.split("/")[-2]
            return httpx.Response(200, json=[api.xcoms[key] for api in self.siblings if key in api.xcoms])
        before, after = self._points(method, path, request)
        PROCESS.at(before)
        answer = super()._act(method, path, request)
        PROCESS.at(after)
        return answer

    def _points(self, method, path, request):
        if method == "PUT" and path.endswith("/kernel_invocation"):
            entry = json.loads(request.content)["value"]
            if entry["is_closed"]:
                return "before the end is stored", None
            what = "intent" if entry["external_id"] is None else "id"
            return f"before the {what} is stored", f"after the {what} is stored"
        if method == "POST" and path.endswith("/return_value"):
            return "before the result is pushed", "before the task ends"
        return None, None

    def _run_context(self):
        return {**super()._run_context(), "should_retry": self.try_number <= self.max_tries}
