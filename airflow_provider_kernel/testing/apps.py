"""Apps, their versions, and the Python functions that stand for their actions."""

from __future__ import annotations

import inspect
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.testing.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_kernel.testing.switches import Switches

LATEST = "latest"


@dataclass(frozen=True)
class Action:
    """
    An action: a function, and whether it wants the payload.

    :param name: its name.
    :param function: takes `(ctx)` or `(ctx, payload)`, sync or async.
    :param takes_payload: which of the two.
    """

    name: str
    function: Callable[..., Any]
    takes_payload: bool

    @classmethod
    def of(cls, name: str, function: Callable[..., Any]) -> Action:
        """
        Look at a function's parameters.

        :param name: the action's name.
        :param function: the function.
        :raises TypeError: when it can be called in neither way.
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
    :param version: the label it was deployed under.
    :param id: app version ID.
    :param deployment_id: deployment ID.
    :param actions: by name.
    """

    app_name: str
    version: str
    id: str
    deployment_id: str
    actions: dict[str, Action] = field(default_factory=dict)

    @property
    def resolved_version(self) -> str:
        """What the label stands for; only `latest` stands for something else."""
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


class Apps:
    """What is deployed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[tuple[str, str], AppVersion] = {}

    def register(
        self, app_name: str, action_name: str, function: Callable[..., Any], version: str = LATEST
    ) -> None:
        """
        Deploy a function as an action; one of the same name is replaced.

        :param app_name: the app.
        :param action_name: the action.
        :param function: takes `(ctx)` or `(ctx, payload)`, sync or async.
        :param version: the version label.
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

    def find(self, app_name: str, version: str, action_name: str, switches: Switches) -> tuple[AppVersion, Action]:
        """
        Look an action up.

        :param app_name: the app.
        :param version: the version label.
        :param action_name: the action.
        :param switches: for the error code.
        :raises ApiError: 404 that says which of the three is missing.
        """
        with self._lock:
            known = [v for v in self._versions.values() if v.app_name == app_name]
            deployed = next((v for v in known if v.version == version), None)
            action = deployed.actions.get(action_name) if deployed is not None else None
        if not known:
            raise ApiError(404, switches.not_found_code, f"App {app_name!r} not found")
        if deployed is None:
            message = f"App {app_name!r} has no version {version!r}"
            raise ApiError(404, switches.not_found_code, message)
        if action is None:
            message = f"App {app_name!r} version {version!r} has no action {action_name!r}"
            raise ApiError(404, switches.not_found_code, message)
        return deployed, action

    def rows(self, app_name: str | None, version: str | None, query: str | None) -> list[dict[str, Any]]:
        """
        Return the rows of GET /apps.

        :param app_name: only this app.
        :param version: only this label.
        :param query: only apps whose name holds this.
        """
        with self._lock:
            return [
                v.json()
                for v in self._versions.values()
                if (app_name is None or v.app_name == app_name)
                and (version is None or v.version == version)
                and (query is None or query.lower() in v.app_name.lower())
            ]
