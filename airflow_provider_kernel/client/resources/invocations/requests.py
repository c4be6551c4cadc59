"""
The requests of invocations, one function for each endpoint. Nothing here sends anything.

Each returns a :class:`Request` that knows how to parse its answer, and raises ``KernelInputError`` for an invalid
argument.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.pagination import PAGE_SIZE, Page, page_of, paging_parameters
from airflow_provider_kernel.client.http.request import (
    Request,
    json_body,
    path_segment,
    query_parameters,
)
from airflow_provider_kernel.client.http.response import Response, json_of, nothing
from airflow_provider_kernel.client.json_encoding import (
    PAYLOAD_MAX_BYTES,
    PAYLOAD_WARN_BYTES,
    size_in_bytes,
    to_json_text,
)
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus, check_final_status
from airflow_provider_kernel.client.resources.invocations.time_limits import check_async_timeout
from airflow_provider_kernel.client.retry import Resend
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.client.unset import UNSET, Unset
from airflow_provider_kernel.client.validation import check_name

if TYPE_CHECKING:
    from airflow_provider_kernel.client.http.sse import StreamRequest
    from airflow_provider_kernel.client.resources.invocations.browser_models import Browser
    from airflow_provider_kernel.client.resources.invocations.event_models import Event

log = get_logger(__name__)

_invocation = json_of(Invocation)
_invocations = page_of(Invocation)


def create_invocation(
    app_name: str,
    action_name: str,
    *,
    payload: Any = UNSET,
    version: str = "latest",
    async_timeout_seconds: int | None = None,
) -> Request[Invocation]:
    """
    ``POST /invocations``, always asynchronous. The answer has only ``id``, ``action_name`` and ``status``.

    :param payload: any value that JSON can hold; left out, none is sent.
    :param async_timeout_seconds: Kernel ends it after this time, 10 to 3600. Default: Kernel's own, 900.
    """
    body: dict[str, Any] = {
        "app_name": check_name("app_name", app_name),
        "action_name": check_name("action_name", action_name),
        "version": check_name("version", version),
        "async": True,
    }
    if not isinstance(payload, Unset):
        body["payload"] = _payload_text(payload)
    if async_timeout_seconds is not None:
        check_async_timeout("async_timeout_seconds", async_timeout_seconds)
        body["async_timeout_seconds"] = async_timeout_seconds
    about = (("app_name", app_name), ("action_name", action_name))
    return Request("POST", "/invocations", _invocation, body=json_body(body), resend=Resend.IF_REFUSED, about=about)


def get_invocation(invocation_id: str) -> Request[Invocation]:
    """``GET /invocations/{id}``."""
    return Request("GET", _invocation_path(invocation_id), _invocation, about=(("id", invocation_id),))


def update_invocation(
    invocation_id: str, status: InvocationStatus | str, output: Any = UNSET
) -> Request[Invocation]:
    """
    ``PATCH /invocations/{id}``: end an invocation.

    :param status: ``succeeded`` or ``failed``.
    :param output: any value that JSON can hold, ``None`` included; left out, none is sent.
    """
    body = {"status": check_final_status("status", status)}
    if not isinstance(output, Unset):
        body["output"] = to_json_text(output, what="output")
    path, about = _invocation_path(invocation_id), (("id", invocation_id),)
    return Request("PATCH", path, _invocation, body=json_body(body), about=about)


def list_invocations(
    *,
    app_name: str | None = None,
    version: str | None = None,
    action_name: str | None = None,
    deployment_id: str | None = None,
    status: InvocationStatus | str | None = None,
    since: datetime | str | None = None,
    query: str | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
) -> Request[Page[Invocation]]:
    """
    ``GET /invocations``: one page; :func:`~airflow_provider_kernel.client.http.pagination.next_page` continues.

    :param since: only those started after this time (with its zone), or this long ago, such as ``"5m"``.
    :param query: free search over id, app and action name.
    :param limit: rows a page, 1 to 100.
    """
    return Request(
        "GET",
        "/invocations",
        _invocations,
        query=query_parameters(
            app_name=app_name,
            version=version,
            action_name=action_name,
            deployment_id=deployment_id,
            status=str(status) if isinstance(status, InvocationStatus) else status,
            since=_since(since),
            query=query,
            **paging_parameters(limit, offset),
        ),
    )


def _browsers(response: Response) -> list[Browser]:
    from airflow_provider_kernel.client.resources.invocations.browser_models import BrowserList

    return json_of(BrowserList)(response).browsers


def list_invocation_browsers(invocation_id: str) -> Request[list[Browser]]:
    """``GET /invocations/{id}/browsers``: the browsers of an invocation that are alive."""
    return Request(
        "GET",
        f"{_invocation_path(invocation_id)}/browsers",
        _browsers,
    )


def delete_invocation_browsers(invocation_id: str) -> Request[None]:
    """``DELETE /invocations/{id}/browsers``: end an invocation's browsers; its status stays as it is."""
    return Request("DELETE", f"{_invocation_path(invocation_id)}/browsers", nothing)


def follow_invocation(invocation_id: str, *, since: str) -> StreamRequest[Event]:
    """
    ``GET /invocations/{id}/events``: the event stream.

    :param since: from when on to replay log lines: an RFC 3339 time, or a duration back from now such as ``"2h"``.
    """
    # Few processes read a stream.
    from airflow_provider_kernel.client.http.sse import StreamRequest
    from airflow_provider_kernel.client.resources.invocations.event_models import parse_event

    path, query = f"{_invocation_path(invocation_id)}/events", query_parameters(since=since)
    return StreamRequest("GET", path, nothing, query=query, parse_event=parse_event)


def _since(since: Any) -> str | None:
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise errors.KernelInputError(f"since is {since!r}, which has no time zone; give an aware datetime")
        try:
            utc = since.astimezone(timezone.utc)
        except OverflowError:
            raise errors.KernelInputError(f"since is {since!r}, which is out of range in UTC") from None
        return utc.isoformat().replace("+00:00", "Z")
    if since is None or isinstance(since, str):
        return since
    raise errors.KernelInputError(
        f"since is of type {type(since).__name__}; give an aware datetime, or text such as '5m'"
    )


def _payload_text(payload: Any) -> str:
    text = to_json_text(payload, what="payload")
    size = size_in_bytes(text)
    if size > PAYLOAD_MAX_BYTES:
        raise errors.KernelInputError(
            f"payload has {size:,} bytes of JSON; Kernel takes at most {PAYLOAD_MAX_BYTES:,}. "
            "Store the data somewhere and pass a reference to it"
        )
    if size > PAYLOAD_WARN_BYTES:
        log.warning(
            "The payload has %d bytes of JSON; some of Kernel's documents allow only %d. "
            "Consider passing a reference to the data instead",
            size,
            PAYLOAD_WARN_BYTES,
        )
    return text


def _invocation_path(invocation_id: str) -> str:
    return f"/invocations/{path_segment('invocation_id', invocation_id)}"
