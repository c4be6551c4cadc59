"""The endpoints of ``/invocations``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_kernel.testing.errors import invalid
from airflow_provider_kernel.testing.http import is_json, page, read_object, read_since
from airflow_provider_kernel.testing.resources.apps import Apps
from airflow_provider_kernel.testing.resources.invocations import demo_app
from airflow_provider_kernel.testing.resources.invocations.events import RunFeed
from airflow_provider_kernel.testing.resources.invocations.record import FINAL, STATUSES
from airflow_provider_kernel.testing.resources.invocations.runner import Runner
from airflow_provider_kernel.testing.resources.invocations.store import RunStore
from airflow_provider_kernel.testing.room import Room
from airflow_provider_kernel.testing.sse import EventStream

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_kernel.testing.backend import Backend
    from airflow_provider_kernel.testing.resources.invocations.run import Run

_CREATE_FIELDS = ("app_name", "action_name", "version", "payload", "async", "async_timeout_seconds")
_PATCH_FIELDS = ("status", "output")


class Invocations(Room):
    """Asynchronous runs of the deployed actions."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.store = RunStore(backend)
        self._apps = backend.room(Apps)
        self._runner = Runner(backend, self.store)
        demo_app.install(self._apps)

    def routes(self) -> list[Route]:
        """Return the endpoints."""
        return [
            Route("/invocations", self.create, methods=["POST"]),
            Route("/invocations", self.list_runs, methods=["GET"]),
            Route("/invocations/{id}", self.retrieve, methods=["GET"]),
            Route("/invocations/{id}", self.update, methods=["PATCH"]),
            Route("/invocations/{id}/browsers", self.list_browsers, methods=["GET"]),
            Route("/invocations/{id}/browsers", self.delete_browsers, methods=["DELETE"]),
            Route("/invocations/{id}/events", self.follow, methods=["GET"]),
        ]

    def stop(self) -> None:
        """Stop the code of all runs."""
        self.store.stop_all()

    def reset(self) -> None:
        """Stop and forget all runs."""
        self.store.clear()

    async def create(self, request: Request) -> Response:
        """Answer `POST /invocations`."""
        caller = self.caller(request)
        body = await self._body(request, _CREATE_FIELDS)
        for name in ("app_name", "action_name", "version"):
            if name not in body:
                raise invalid(f"Missing required field: {name}")
            if not isinstance(body[name], str) or not body[name]:
                raise invalid(f"{name} must be a string that is not empty")
        payload = self._payload(body)
        timeout = _async_timeout(body)
        app, action = self._apps.find(body["app_name"], body["version"], body["action_name"])
        run = self.store.create(caller.project.id, app, action.name, payload, timeout)
        self._runner.start(run, action)
        # The answer is always `queued`, however soon the run starts.
        queued = {"id": run.id, "action_name": run.action_name, "status": "queued"}
        return JSONResponse(queued, status_code=202)

    async def list_runs(self, request: Request) -> Response:
        """Answer `GET /invocations`."""
        caller = self.caller(request)
        query = request.query_params
        status = query.get("status")
        if status is not None and status not in STATUSES:
            raise invalid(f"status must be one of {', '.join(STATUSES)}")
        since = self._since(request)
        search = query.get("query", "").lower()

        def matches(run: Run) -> bool:
            return (
                run.project_id == caller.project.id
                and query.get("app_name") in (None, run.app.app_name)
                and query.get("version") in (None, run.app.version, run.version)
                and query.get("action_name") in (None, run.action_name)
                and query.get("deployment_id") in (None, run.app.deployment_id)
                and status in (None, run.status)
                and self.store.is_since(run.started, since)
                and any(search in name.lower() for name in (run.id, run.app.app_name, run.action_name))
            )

        with self.backend.signal:
            rows = [run.json() for run in self.store.runs() if matches(run)]
        if self.backend.switches.list_order == "newest":
            rows.reverse()
        return page(request, rows)

    async def retrieve(self, request: Request) -> Response:
        """Answer `GET /invocations/{id}`."""
        return self._answer(self._run(request))

    async def update(self, request: Request) -> Response:
        """Answer `PATCH /invocations/{id}`."""
        run = self._run(request)
        body = await self._body(request, _PATCH_FIELDS)
        if "status" not in body:
            raise invalid("Missing required field: status")
        if body["status"] not in FINAL:
            raise invalid(f"status must be one of {', '.join(FINAL)}")
        output = body.get("output")
        if "output" in body and not isinstance(output, str):
            raise invalid("output must be a string that holds JSON")
        if output is not None and self.backend.switches.patch_output_must_be_json and not is_json(output):
            raise invalid("output is not JSON")
        self.store.patch(run, body["status"], output)
        return self._answer(run)

    async def list_browsers(self, request: Request) -> Response:
        """Answer `GET /invocations/{id}/browsers`."""
        run = self._run(request)
        with self.backend.signal:
            return JSONResponse({"browsers": list(run.browsers)})

    async def delete_browsers(self, request: Request) -> Response:
        """Answer `DELETE /invocations/{id}/browsers`."""
        self.store.end_browsers(self._run(request))
        return Response(status_code=204)

    async def follow(self, request: Request) -> Response:
        """Answer `GET /invocations/{id}/events`."""
        run = self._run(request)
        return EventStream(self.backend, RunFeed(self.backend, self.store, run, self._since(request)))

    def _run(self, request: Request) -> Run:
        return self.store.find(self.caller(request).project.id, request.path_params["id"])

    def _answer(self, run: Run) -> Response:
        with self.backend.signal:
            return JSONResponse(run.json())

    def _since(self, request: Request) -> int | None:
        return read_since(request, self.backend.clock.now())

    async def _body(self, request: Request, fields: tuple[str, ...]) -> dict[str, Any]:
        return await read_object(request, fields, refuse_unknown=self.backend.switches.unknown_fields_refused)

    def _payload(self, body: dict[str, Any]) -> str | None:
        if "payload" not in body:
            return None
        payload = body["payload"]
        if not isinstance(payload, str):
            raise invalid("payload must be a string that holds JSON")
        limit = self.backend.switches.payload_limit_bytes
        size = len(payload.encode())
        if size > limit:
            raise invalid(f"payload has {size} bytes; the limit is {limit}")
        if payload and self.backend.switches.payload_must_be_json and not is_json(payload):
            raise invalid("payload is not JSON")
        return payload


def _async_timeout(body: dict[str, Any]) -> int:
    if not isinstance(body.get("async", False), bool):
        raise invalid("async must be true or false")
    if not body.get("async", False):
        raise invalid("async must be true: the emulator has no synchronous invocations")
    seconds = body.get("async_timeout_seconds", 900)
    # To JSON, 60.0 is a whole number too.
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds not in range(10, 3601):
        raise invalid("async_timeout_seconds must be a whole number from 10 to 3600")
    return int(seconds)
