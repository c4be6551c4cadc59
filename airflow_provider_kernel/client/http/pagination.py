"""Lists: what a page is, and which request asks for the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.http.response import Response, parse_http_date
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.validation import is_whole_number

T = TypeVar("T")

PAGE_SIZE = 100


@dataclass(frozen=True)
class Page(Generic[T]):
    """
    One page of a list.

    :param next_offset: where the next page starts; ``None`` on the last one.
    :param server_time: when the server answered, by its ``Date`` header, which counts whole seconds.
    """

    items: tuple[T, ...]
    next_offset: int | None
    server_time: datetime | None = None


def next_page(request: Request[Page[T]], page: Page[T]) -> Request[Page[T]] | None:
    """
    Build the request for the page after ``page``; ``None`` after the last.

    :raises KernelResponseError: when the next page does not start after this one, or this one is empty: the list
        might never end.
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


def paging_parameters(limit: Any, offset: Any) -> dict[str, str]:
    if not is_whole_number(limit) or not 1 <= limit <= PAGE_SIZE:
        raise errors.KernelInputError(f"limit is {short_repr(limit)}; a page has 1 to {PAGE_SIZE} rows")
    if not is_whole_number(offset) or not 0 <= offset < 2**63:
        raise errors.KernelInputError(f"offset is {short_repr(offset)}; it counts from 0")
    return {"limit": str(limit), "offset": str(offset)}


def page_of(model: type[T]) -> Callable[[Response], Page[T]]:
    """Build the parser of a page: a bare array of rows, with the paging in headers."""
    adapter: TypeAdapter[list[T]] = TypeAdapter(list[model])  # type: ignore[valid-type]

    def parse(response: Response) -> Page[T]:
        items = tuple(adapter.validate_json(response.body))
        has_more = response.headers.get("x-has-more", "").strip().lower() == "true"
        offset = response.headers.get("x-next-offset", "").strip()
        server_time = parse_http_date(response.headers.get("date"))
        if not has_more:
            return Page(items, None, server_time)
        # int() refuses thousands of digits with an error of its own.
        if not (offset.isascii() and offset.isdigit() and len(offset) < 19 and int(offset) > 0):
            raise ValueError(
                f"X-Has-More is true, but X-Next-Offset is {short_repr(offset)} and names no next page"
            )
        return Page(items, int(offset), server_time)

    return parse
