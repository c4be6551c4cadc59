"""Projects, and the keys that see them."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_kernel.testing.errors import ApiError, invalid

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.settings import Switches


@dataclass(frozen=True)
class Project:
    """
    A project of the emulated organisation.

    :param id: its ID.
    :param name: its name, which `X-Kernel-Project` takes as well.
    """

    id: str
    name: str


@dataclass(frozen=True)
class Caller:
    """
    Who sends a request, and in which project it acts.

    :param credential_id: stands for the key.
    :param key_project: the project that the key is scoped to, or None for an org-wide key.
    :param project: the project in which the request acts.
    """

    credential_id: str
    key_project: Project | None
    project: Project


class Projects:
    """
    The organisation's projects and keys.

    :param api_key: the org-wide key that exists from the start.
    """

    def __init__(self, api_key: str) -> None:
        self._lock = threading.Lock()
        self.default = Project("proj_default", "default")
        self._projects = [self.default]
        self._keys: dict[str, tuple[str, Project | None]] = {}
        self.add_key(api_key)

    def add(self, name: str, project_id: str | None = None) -> Project:
        """
        Add a project.

        :param name: its name.
        :param project_id: its ID; one is made up otherwise.
        :return: the project.
        """
        project = Project(project_id or f"proj_{secrets.token_hex(8)}", name)
        with self._lock:
            for other in self._projects:
                if {other.id, other.name} & {project.id, project.name}:
                    raise ValueError(f"a project {other} exists already; give another name and ID")
            self._projects.append(project)
        return project

    def add_key(self, key: str, project: str | None = None) -> None:
        """
        Add an API key.

        :param key: the key as clients send it.
        :param project: ID or name of the one project it may see; None for an org-wide key.
        """
        if not key or key != key.strip():
            raise ValueError("an API key must not be empty, or have spaces around it")
        scope = None if project is None else self.find(project)
        if project is not None and scope is None:
            known = ", ".join(f"{p.name} ({p.id})" for p in self._projects)
            raise ValueError(f"no project {project!r}; there are: {known}. Add it with add_project() first")
        with self._lock:
            self._keys[key] = (f"key_{secrets.token_hex(8)}", scope)

    def find(self, id_or_name: str) -> Project | None:
        """Return a project by its ID or exact name."""
        with self._lock:
            return next((p for p in self._projects if id_or_name in (p.id, p.name)), None)

    def authenticate(
        self, authorization: str | None, project_id: str | None, project: str | None, switches: Switches
    ) -> Caller:
        """
        Work out who calls and where.

        :param authorization: the `Authorization` header.
        :param project_id: the `X-Kernel-Project-Id` header, an ID only.
        :param project: the `X-Kernel-Project` header, an ID or a name.
        :param switches: for error codes.
        :raises ApiError: 401 without a good key, 404 for an unknown project, 403 for one that is not the key's.
        """
        scheme, _, key = (authorization or "").partition(" ")
        with self._lock:
            known = self._keys.get(key.strip()) if scheme.lower() == "bearer" else None
        if known is None:
            raise ApiError(401, "unauthorized", "No valid API key came with the request")
        credential_id, scope = known
        asked: set[Project] = set()
        for header, value in (("X-Kernel-Project-Id", project_id), ("X-Kernel-Project", project)):
            if value is None:
                continue
            found = self.find(value)
            if found is None or (header == "X-Kernel-Project-Id" and found.id != value):
                raise ApiError(404, switches.project_not_found_code, f"{header}: no project {value!r}")
            asked.add(found)
        if len(asked) > 1:
            raise invalid("X-Kernel-Project-Id and X-Kernel-Project name different projects")
        wanted = asked.pop() if asked else scope or self.default
        if scope is not None and wanted != scope:
            raise ApiError(403, "forbidden", "This API key belongs to another project")
        return Caller(credential_id, scope, wanted)
