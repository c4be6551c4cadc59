"""The models of an invocation's browsers. Few tasks fetch them, and a model takes a while to define."""

from __future__ import annotations

from pydantic import Field

from airflow_provider_kernel.client.http.model import ApiModel, Rows


class Browser(ApiModel):
    """A browser session of an invocation. The URLs carry access tokens: they are kept out of the ``repr``."""

    session_id: str = Field(min_length=1)
    name: str | None = None
    created_at: str | None = None
    headless: bool | None = None
    stealth: bool | None = None
    timeout_seconds: int | None = None
    cdp_ws_url: str | None = Field(default=None, repr=False)
    webdriver_ws_url: str | None = Field(default=None, repr=False)
    browser_live_view_url: str | None = Field(default=None, repr=False)


class BrowserList(ApiModel):
    """The body of ``GET /invocations/{id}/browsers``."""

    browsers: Rows[Browser]
