"""
Every request that this package can make. Pure: nothing here sends anything.

A function an endpoint, each returning a :class:`Request` that knows how to read its own answer; the two clients
only carry requests to the server and hand back what :meth:`Request.receive` makes of the response.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from airflow_provider_kernel.api import errors
from airflow_provider_kernel.api.defaults import MAX_ASYNC_TIMEOUT_SECONDS, MIN_ASYNC_TIMEOUT_SECONDS
from airflow_provider_kernel.api.foreign_text import shown
from airflow_provider_kernel.api.json_text import (
    PAYLOAD_MAX_BYTES,
    PAYLOAD_WARN_BYTES,
    size_in_bytes,
    to_json_text,
)
from airflow_provider_kernel.api.models import (
    UNSET,
    AppVersion,
    AuthContext,
    Browser,
    BrowserList,
    Invocation,
    InvocationStatus,
    Page,
    Unset,
)
from airflow_provider_kernel.api.responses import Response, json_of, nothing, page_of, read
from airflow_provider_kernel.api.retry import Resend

T = TypeVar("T")

log = logging.getLogger(__name__)

PAGE_SIZE = 100
#: No id or name comes near this; an address of many thousands of characters is refused by whatever is on its way.
_LONGEST_NAME = 500
#: What a template renders to when it finds nothing.
_EMPTY_TEMPLATES = ("None", "null")
_EMPTY_TEMPLATE_HINT = "a template probably found no value: check the XCom or conf that it reads"


@dataclass(frozen=True)
class Request(Generic[T]):
    """
    One call of the API.

    :param method: the HTTP method.
    :param path: the path, percent-encoded.
    :param parse: reads a success; may raise ``ValueError`` for what is not the API's answer.
    :param query: query parameters in order.
    :param body: the JSON body, if any; no part of the ``repr``, as it may hold a payload or an output.
    :param resend: when it may be sent again.
    """

    method: str
    path: str
    parse: Callable[[Response], T]
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    resend: Resend = Resend.ALWAYS

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def receive(self, response: Response) -> T:
        """
        Make of a response what was asked for.

        :param response: what came back.
        :return: the parsed answer.
        :raises KernelAPIError: for a 4xx or 5xx, as the class of its status.
        :raises KernelResponseError: for a redirect, and for a success that is not the API's JSON.
        """
        return read(response, self.parse)


_invocation = json_of(Invocation)
_browsers = json_of(BrowserList)
_auth_context = json_of(AuthContext)
_invocations = page_of(Invocation)
_app_versions = page_of(AppVersion)


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

    :param app_name: the app.
    :param action_name: one of its actions.
    :param payload: any value that JSON can hold; left out, none is sent.
    :param version: the app's version label.
    :param async_timeout_seconds: when Kernel ends it by itself; 10 to 3600, by default (Kernel's) 900.
    :raises KernelInputError: when an argument cannot be right.
    """
    body: dict[str, Any] = {
        "app_name": _name("app_name", app_name),
        "action_name": _name("action_name", action_name),
        "version": _name("version", version),
        "async": True,
    }
    if not isinstance(payload, Unset):
        body["payload"] = _payload_text(payload)
    if async_timeout_seconds is not None:
        low, high = MIN_ASYNC_TIMEOUT_SECONDS, MAX_ASYNC_TIMEOUT_SECONDS
        if (
            isinstance(async_timeout_seconds, bool)
            or not isinstance(async_timeout_seconds, int)
            or not low <= async_timeout_seconds <= high
        ):
            raise errors.KernelInputError(
                f"async_timeout_seconds is {shown(async_timeout_seconds)}; "
                f"Kernel takes whole seconds from {low} to {high}"
            )
        body["async_timeout_seconds"] = async_timeout_seconds
    return Request("POST", "/invocations", _invocation, body=_body(body), resend=Resend.IF_REFUSED)


def get_invocation(invocation_id: str) -> Request[Invocation]:
    """
    ``GET /invocations/{id}``.

    :param invocation_id: the invocation.
    :raises KernelInputError: when the id cannot be one.
    """
    return Request("GET", _invocation_path(invocation_id), _invocation)


def update_invocation(
    invocation_id: str, status: InvocationStatus | str, output: Any = UNSET
) -> Request[Invocation]:
    """
    ``PATCH /invocations/{id}``: end an invocation.

    :param invocation_id: the invocation.
    :param status: ``succeeded`` or ``failed``.
    :param output: any value that JSON can hold, ``None`` included; left out, none is sent.
    :raises KernelInputError: when an argument cannot be right.
    """
    allowed = (InvocationStatus.SUCCEEDED.value, InvocationStatus.FAILED.value)
    wanted = str(status) if isinstance(status, str) else ""
    if wanted not in allowed:
        raise errors.KernelInputError(
            f"status is {shown(status)}; an invocation can be set to {' or '.join(map(repr, allowed))} only"
        )
    body = {"status": wanted}
    if not isinstance(output, Unset):
        body["output"] = to_json_text(output, what="output")
    return Request("PATCH", _invocation_path(invocation_id), _invocation, body=_body(body))


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
    ``GET /invocations``: one page; :func:`next_page` asks for the one behind it.

    :param app_name: only this app's.
    :param version: only this version label's.
    :param action_name: only this action's.
    :param deployment_id: only those that ran on this deployment.
    :param status: only those in this state.
    :param since: only those started after this time (with its zone), or this long ago, such as ``"5m"``.
    :param query: free search over id, app and action name.
    :param limit: rows a page, 1 to 100.
    :param offset: rows to pass over.
    :raises KernelInputError: when an argument cannot be right.
    """
    return Request(
        "GET",
        "/invocations",
        _invocations,
        query=_query(
            app_name=app_name,
            version=version,
            action_name=action_name,
            deployment_id=deployment_id,
            status=str(status) if isinstance(status, InvocationStatus) else status,
            since=_since(since),
            query=query,
            **_paging(limit, offset),
        ),
    )


def next_page(request: Request[Page[T]], page: Page[T]) -> Request[Page[T]] | None:
    """
    Say what to ask for after a page.

    :param request: what the page answered.
    :param page: that page.
    :return: the request for the next page, or ``None`` after the last.
    :raises KernelResponseError: when the server's next page is not behind this one, or this one has nothing on it,
        which might never end.
    """
    if page.next_offset is None:
        return None
    query = dict(request.query)
    if page.next_offset <= int(query.get("offset", 0)):
        raise errors.KernelResponseError(
            f"the list says that the page after offset {query.get('offset', 0)} starts at {page.next_offset}"
        )
    if not page.items:
        raise errors.KernelResponseError("a page of the list is empty and says that there are more")
    query["offset"] = str(page.next_offset)
    return replace(request, query=tuple(query.items()))


def list_invocation_browsers(invocation_id: str) -> Request[list[Browser]]:
    """
    ``GET /invocations/{id}/browsers``: the browsers of an invocation that are alive.

    :param invocation_id: the invocation.
    :raises KernelInputError: when the id cannot be one.
    """
    return Request(
        "GET",
        f"{_invocation_path(invocation_id)}/browsers",
        lambda response: _browsers(response).browsers,
    )


def delete_invocation_browsers(invocation_id: str) -> Request[None]:
    """
    ``DELETE /invocations/{id}/browsers``: end an invocation's browsers; its status stays as it is.

    :param invocation_id: the invocation.
    :raises KernelInputError: when the id cannot be one.
    """
    return Request("DELETE", f"{_invocation_path(invocation_id)}/browsers", nothing)


def follow_invocation(invocation_id: str, *, since: str) -> Request[None]:
    """
    ``GET /invocations/{id}/events``: the event stream; the client hands on what comes.

    :param invocation_id: the invocation.
    :param since: from when on to replay log lines: an RFC 3339 time, or a duration back from now such as ``"2h"``.
    :raises KernelInputError: when the id cannot be one.
    """
    return Request("GET", f"{_invocation_path(invocation_id)}/events", nothing, query=_query(since=since))


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

    :param app_name: only this app's.
    :param version: only this version label.
    :param query: free search over app names.
    :param limit: rows a page, 1 to 100.
    :param offset: rows to pass over.
    """
    return Request(
        "GET",
        "/apps",
        _app_versions,
        query=_query(app_name=app_name, version=version, query=query, **_paging(limit, offset)),
    )


def get_auth_context() -> Request[AuthContext]:
    """``GET /auth/context``: whose key it is and where it acts. Changes nothing."""
    return Request("GET", "/auth/context", _auth_context)


def _body(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False).encode()


def _query(**parameters: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name, _parameter(name, value)) for name, value in parameters.items() if value is not None)


def _parameter(name: str, value: Any) -> str:
    # Half a surrogate pair is text to Python, but nothing that can be sent.
    if not isinstance(value, str) or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
        raise errors.KernelInputError(f"{name} is {shown(value)}; it takes text that can be sent as UTF-8")
    if len(value) > _LONGEST_NAME:
        raise errors.KernelInputError(f"{name} has {len(value)} characters; it takes {_LONGEST_NAME} at most")
    return value


def _paging(limit: Any, offset: Any) -> dict[str, str]:
    if not _is_whole(limit) or not 1 <= limit <= PAGE_SIZE:
        raise errors.KernelInputError(f"limit is {shown(limit)}; a page has 1 to {PAGE_SIZE} rows")
    if not _is_whole(offset) or not 0 <= offset < 2**63:
        raise errors.KernelInputError(f"offset is {shown(offset)}; it counts from 0")
    return {"limit": str(limit), "offset": str(offset)}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _since(since: Any) -> str | None:
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise errors.KernelInputError(f"since is {since!r}, which has no time zone; give an aware datetime")
        try:
            utc = since.astimezone(timezone.utc)
        except OverflowError:
            raise errors.KernelInputError(f"since is {since!r}, a time that UTC cannot tell") from None
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


def _name(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise errors.KernelInputError(f"{what} is {shown(value)}; it must be a name, and not empty")
    if value in _EMPTY_TEMPLATES:
        raise errors.KernelInputError(f"{what} is {value!r}: {_EMPTY_TEMPLATE_HINT}")
    if len(value) > _LONGEST_NAME:
        raise errors.KernelInputError(f"{what} is {shown(value)}; a name has {_LONGEST_NAME} characters at most")
    return value


def _invocation_path(invocation_id: str) -> str:
    return f"/invocations/{_segment('invocation_id', invocation_id)}"


def _segment(what: str, value: Any) -> str:
    """Percent-encode an id as one path segment; refuse what would address something else."""
    hint: str | None = None
    if not isinstance(value, str):
        hint = f"it is of type {type(value).__name__}, not text"
    elif not value.strip():
        hint = "it is empty"
    elif value in _EMPTY_TEMPLATES:
        hint = _EMPTY_TEMPLATE_HINT
    elif value in (".", "..") or "/" in value or "\\" in value:
        hint = "it has a slash or is a path, not one id"
    elif not value.isprintable() or value != value.strip():
        hint = "it has line breaks, control characters, or space at an end"
    elif len(value) > _LONGEST_NAME:
        hint = f"it has {len(value)} characters; an id has {_LONGEST_NAME} at most"
    if hint:
        raise errors.KernelInputError(f"{what} is {shown(value)}, which cannot be an id: {hint}")
    return quote(value, safe="")
