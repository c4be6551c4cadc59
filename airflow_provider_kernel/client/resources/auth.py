"""Auth: whose key it is, and where it acts."""

from __future__ import annotations

from airflow_provider_kernel.client.http.model import ApiModel
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.http.response import json_of


class AuthScope(ApiModel):
    """Where a credential acts; ``project_id`` is ``None`` for the whole organization."""

    project_id: str | None = None


class _Authorization(ApiModel):
    credential_scope: AuthScope = AuthScope()
    effective_scope: AuthScope = AuthScope()


class _Organization(ApiModel):
    id: str


class AuthContext(ApiModel):
    """Who the key is and where it acts: the answer of ``GET /auth/context``."""

    organization: _Organization
    authorization: _Authorization = _Authorization()

    @property
    def project_id(self) -> str | None:
        """The project that requests act in; ``None`` for the organization's default."""
        return self.authorization.effective_scope.project_id


_auth_context = json_of(AuthContext)


def get_auth_context() -> Request[AuthContext]:
    """``GET /auth/context``: whose key it is and where it acts. Changes nothing."""
    return Request("GET", "/auth/context", _auth_context)
