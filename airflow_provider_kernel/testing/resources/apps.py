"""``/apps``: deployed apps, their versions, and the Python functions that implement their actions."""

from __future__ import annotations

import inspect
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from airflow_provider_kernel.testing.errors import ApiError
from airflow_provider_kernel.testing.http import page
from airflow_provider_kernel.testing.room import Room

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_kernel.testing.backend import Backend

LATEST = "latest"


@dataclass(frozen=True)
class Action:
    """
    A deployed action.

    :param name: the action's name.
    :param function: takes `(ctx)` or `(ctx, payload)`, sync or async.
    :param takes_payload: whether it takes the payload.
    """

    name: str
    function: Callable[..., Any]
    takes_payload: bool

    @classmethod
    def of(cls, name: str, function: Callable[..., Any]) -> Action:
        """
        Create an action from a function.

        :raises TypeError: if the function has other parameters.
        """
        if not callable(function):
            raise TypeError(f"action {name!r} was given {function!r}, which is not callable")
        signature = inspect.signature(function)
        for arguments in (2, 1):
            try:
                signature.bind(*[None] * arguments)
            except TypeError:
                continue
            return cls(name, function, arguments == 2)
        raise TypeError(f"action {name!r} takes {signature}; it must take (ctx) or (ctx, payload)")


@dataclass(frozen=True)
class AppVersion:
    """
    A deployed version of an app.

    :param app_name: the app.
    :param version: the version label.
    :param id: app version ID.
    :param deployment_id: deployment ID.
    :param actions: the actions by name.
    """

    app_name: str
    version: str
    id: str
    deployment_id: str
    actions: dict[str, Action] = field(default_factory=dict)

    @property
    def resolved_version(self) -> str:
        """The version that the label resolves to; only `latest` resolves to another one."""
        return "1.0.0" if self.version == LATEST else self.version

    def json(self) -> dict[str, Any]:
        """Return the `AppVersionSummary`."""
        return {
            "id": self.id,
            "app_name": self.app_name,
            "version": self.version,
            "region": "aws.us-east-1a",
            "deployment": self.deployment_id,
            "actions": [{"name": name, "input_schema": None, "output_schema": None} for name in self.actions],
            "env_vars": {},
        }


class Apps(Room):
    """All deployed app versions."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._lock = threading.Lock()
        self._versions: dict[tuple[str, str], AppVersion] = {}

    def register(
        self, app_name: str, action_name: str, function: Callable[..., Any], version: str = LATEST
    ) -> None:
        """
        Deploy a function as an action; an action of the same name is replaced.

        :param function: takes `(ctx)` or `(ctx, payload)`, sync or async.
        """
        for name, value in (("app_name", app_name), ("action_name", action_name), ("version", version)):
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name} is {value!r}; it must be a string that is not empty")
        action = Action.of(action_name, function)
        with self._lock:
            found = self._versions.get((app_name, version))
            if found is None:
                found = AppVersion(app_name, version, f"av{secrets.token_hex(11)}", f"dp{secrets.token_hex(11)}")
                self._versions[app_name, version] = found
            found.actions[action_name] = action

    def find(self, app_name: str, version: str, action_name: str) -> tuple[AppVersion, Action]:
        """
        Return an action and its app version.

        :raises ApiError: 404 that names the one of the three that is missing.
        """
        code = self.backend.switches.not_found_code
        with self._lock:
            known = [v for v in self._versions.values() if v.app_name == app_name]
            deployed = next((v for v in known if v.version == version), None)
            action = deployed.actions.get(action_name) if deployed is not None else None
        if not known:
            raise ApiError(404, code, f"App {app_name!r} not found")
        if deployed is None:
            message = f"App {app_name!r} has no version {version!r}"
            raise ApiError(404, code, message)
        if action is None:
            message = f"App {app_name!r} version {version!r} has no action {action_name!r}"
            raise ApiError(404, code, message)
        return deployed, action

    def routes(self) -> list[Route]:
        """Return the endpoints."""
        return [Route("/apps", self.list_apps, methods=["GET"])]

    async def list_apps(self, request: Request) -> Response:
        """Answer `GET /apps`."""
        self.caller(request)
        query = request.query_params
        return page(request, self._rows(query.get("app_name"), query.get("version"), query.get("query")))

    def _rows(self, app_name: str | None, version: str | None, query: str | None) -> list[dict[str, Any]]:
        with self._lock:
            return [
                v.json()
                for v in self._versions.values()
                if (app_name is None or v.app_name == app_name)
                and (version is None or v.version == version)
                and (query is None or query.lower() in v.app_name.lower())
            ]
