"""Apps: what is deployed, in which versions."""

from __future__ import annotations

from typing import Any

from airflow_provider_kernel.client.http.model import ApiModel, Rows
from airflow_provider_kernel.client.http.pagination import PAGE_SIZE, Page, page_of, paging_parameters
from airflow_provider_kernel.client.http.request import Request, query_parameters


class AppAction(ApiModel):
    """An action that an app offers, with the JSON schemas of its payload and result where known."""

    name: str
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None


class AppVersion(ApiModel):
    """One deployed version of an app."""

    id: str
    app_name: str
    version: str
    region: str | None = None
    deployment: str | None = None
    actions: Rows[AppAction] = []  # noqa: RUF012 (pydantic copies it)


_app_versions = page_of(AppVersion)


def list_apps(
    *,
    app_name: str | None = None,
    version: str | None = None,
    query: str | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
) -> Request[Page[AppVersion]]:
    """
    ``GET /apps``: one page of deployed app versions.

    :param query: free search over app names.
    :param limit: rows a page, 1 to 100.
    """
    return Request(
        "GET",
        "/apps",
        _app_versions,
        query=query_parameters(app_name=app_name, version=version, query=query, **paging_parameters(limit, offset)),
    )
