"""
The requests of browser sessions, one function for each endpoint. Nothing here sends anything.

Each returns a :class:`Request` that knows how to parse its answer, and raises ``KernelInputError`` for an invalid
argument. What runs inside a browser stands in :mod:`airflow_provider_kernel.client.resources.browsers.machine`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.pagination import PAGE_SIZE, Page, page_of, paging_parameters
from airflow_provider_kernel.client.http.request import Request, json_body, path_segment, query_parameters
from airflow_provider_kernel.client.http.response import Response, done, json_of
from airflow_provider_kernel.client.resources.browsers.models import BrowserSession
from airflow_provider_kernel.client.resources.browsers.options import check_tags
from airflow_provider_kernel.client.retry import Resend
from airflow_provider_kernel.client.sanitize import sanitize_line, short_repr
from airflow_provider_kernel.client.validation import is_unicode

_session = json_of(BrowserSession)
_sessions = page_of(BrowserSession)

STATUSES = ("active", "deleted", "all")


def create_browser(body: Mapping[str, Any]) -> Request[BrowserSession]:
    """
    ``POST /browsers``. There is no idempotency key: only a ``name`` makes Kernel refuse a second one, with 409.

    :param body: of :func:`~airflow_provider_kernel.client.resources.browsers.options.browser_body`.
    """
    about = (("name", str(body["name"])),) if body.get("name") else ()
    return Request("POST", "/browsers", _session, body=json_body(body), resend=Resend.IF_REFUSED, about=about)


def list_browsers(
    *,
    tags: Mapping[str, str] | None = None,
    query: str | None = None,
    status: str = "active",
    limit: int = PAGE_SIZE,
    offset: int = 0,
) -> Request[Page[BrowserSession]]:
    """
    ``GET /browsers``: one page; :func:`~airflow_provider_kernel.client.http.pagination.next_page` continues.

    :param tags: only those that have all of these tags with exactly these values.
    :param query: free search over name, session id, profile, proxy and pool, by parts of words.
    :param status: ``active``, ``deleted`` or ``all``.
    :param limit: rows a page, 1 to 100.
    """
    if status not in STATUSES:
        raise errors.KernelInputError(f"status is {short_repr(status)}; it takes one of {', '.join(STATUSES)}")
    wanted = tuple((f"tags[{key}]", value) for key, value in check_tags("tags", tags or {}).items())
    plain = query_parameters(status=status, query=query, **paging_parameters(limit, offset))
    return Request("GET", "/browsers", _sessions, query=plain + wanted)


def get_browser(id_or_name: str, *, include_deleted: bool = False) -> Request[BrowserSession]:
    """
    ``GET /browsers/{id_or_name}``. One that has ended is a 404, unless it is asked for.

    :param include_deleted: whether to show one that has ended, too; by its id.
    """
    query = query_parameters(include_deleted="true" if include_deleted else None)
    return Request("GET", browser_path(id_or_name), _session_of(id_or_name), query=query)


def update_browser(id_or_name: str, **fields: Any) -> Request[BrowserSession]:
    """
    ``PATCH /browsers/{id_or_name}``: change a session. Its idle limit cannot be changed.

    :param fields: of the API: ``name``, ``tags`` (the whole set), ``proxy``, ``profile``, ``viewport``, and others.
    """
    try:
        body = json_body(fields)
        is_text = is_unicode(json.dumps(fields, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.KernelInputError(
            f"{', '.join(fields)} must be values that JSON can hold: {sanitize_line(str(error))}"
        ) from None
    if not is_text:
        raise errors.KernelInputError(f"{', '.join(fields)} hold half a surrogate pair, which is no text")
    # By its former name it is found once more, and answers with the new one.
    return Request("PATCH", browser_path(id_or_name), _session_of(id_or_name, fields.get("name")), body=body)


def delete_browser(id_or_name: str) -> Request[None]:
    """
    ``DELETE /browsers/{id_or_name}``: end a session, and save its profile if it was made so.

    Prefer the id: after the end, a name may belong to another session.
    """
    return Request("DELETE", browser_path(id_or_name), done)


def _session_of(*names: str | None) -> Callable[[Response], BrowserSession]:
    """Build the parser of an answer about a certain session, by its id or one of its names."""
    wanted = [name for name in names if name]

    def parse(response: Response) -> BrowserSession:
        found = _session(response)
        if found.session_id not in wanted and found.name not in wanted:
            raise ValueError(f"it is that of browser {found.session_id}, not of {wanted[0]}")
        return found

    return parse


def browser_path(id_or_name: str) -> str:
    return f"/browsers/{path_segment('browser', id_or_name)}"
