"""Lists: what a page is, and which request asks for the next one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.json_body import load_json
from airflow_provider_kernel.client.http.model import ApiModel, read_leniently
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.http.response import Response, parse_http_date
from airflow_provider_kernel.client.http.warn_once import warn_once
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.validation import is_whole_number

T = TypeVar("T")
M = TypeVar("M", bound=ApiModel)

PAGE_SIZE = 100

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


class UnreadableRow:
    """
    A row of a list that is there, and cannot be read: unknown is not absent.

    :param problem: why not, without the row's values.
    :param document: the row as it was sent; ``None`` for one that is too large.
    """

    def __init__(self, problem: str, document: Any = None) -> None:
        self.problem = problem
        self.document = document

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.problem!r})"


class Page(Generic[T]):
    """
    One page of a list.

    :param next_offset: where the next page starts; ``None`` on the last one.
    :param server_time: when the server answered, by its ``Date`` header, which counts whole seconds.
    :param unreadable: rows that are not among the items, because they cannot be read.
    :param has_paging: whether the answer says if there are more. If not, only a page that is not full is the last.
    :param size: of the answer, in bytes.
    """

    def __init__(
        self,
        items: tuple[T, ...],
        next_offset: int | None,
        server_time: datetime | None = None,
        unreadable: tuple[UnreadableRow, ...] = (),
        has_paging: bool = True,
        size: int = 0,
    ) -> None:
        self.items = items
        self.next_offset = next_offset
        self.server_time = server_time
        self.unreadable = unreadable
        self.has_paging = has_paging
        self.size = size

    @property
    def row_count(self) -> int:
        return len(self.items) + len(self.unreadable)


def next_page(request: Request[Page[T]], page: Page[T]) -> Request[Page[T]] | None:
    """
    Build the request for the page after ``page``; ``None`` after the last.

    :raises KernelResponseError: when the next page does not start after this one, or this one is empty: the list
        might never end.
    """
    offset, limit = offset_of(request), limit_of(request)
    next_offset = page.next_offset
    if next_offset is None:
        if page.has_paging or page.row_count < limit:
            return None
        next_offset = offset + page.row_count
    if next_offset <= offset:
        raise errors.KernelResponseError(
            f"the list says that the page after offset {offset} starts at {next_offset}"
        )
    if not page.row_count:
        raise errors.KernelResponseError("a page of the list is empty and says that there are more")
    return with_paging(request, offset=next_offset)


def offset_of(request: Request[Any]) -> int:
    return int(dict(request.query).get("offset", 0))


def limit_of(request: Request[Any]) -> int:
    return int(dict(request.query).get("limit", PAGE_SIZE))


def with_paging(request: Request[Page[T]], **parameters: int) -> Request[Page[T]]:
    """Replace a request's ``limit`` or ``offset``."""
    query = {**dict(request.query), **{name: str(value) for name, value in parameters.items()}}
    return replace(request, query=tuple(query.items()))


def paging_parameters(limit: Any, offset: Any) -> dict[str, str]:
    if not is_whole_number(limit) or not 1 <= limit <= PAGE_SIZE:
        raise errors.KernelInputError(f"limit is {short_repr(limit)}; a page has 1 to {PAGE_SIZE} rows")
    if not is_whole_number(offset) or not 0 <= offset < 2**63:
        raise errors.KernelInputError(f"offset is {short_repr(offset)}; it counts from 0")
    return {"limit": str(limit), "offset": str(offset)}


def page_of(model: type[M]) -> Callable[[Response], Page[M]]:
    """
    Build the parser of a page: a bare array of rows, with the paging in headers.

    A row that cannot be read does not hide the others. ``null`` is a list without rows.
    """

    def parse(response: Response) -> Page[M]:
        unreadable: tuple[UnreadableRow, ...] = ()
        try:
            items = tuple(_rows_adapter(model).validate_json(response.body))
        except ValidationError as error:
            items, unreadable = _read_rows(model, response, error)
        next_offset, has_paging = _paging(response.headers)
        server_time = parse_http_date(response.headers.get("date"))
        return Page(items, next_offset, server_time, unreadable, has_paging, len(response.body))

    return parse


@functools.cache
def _rows_adapter(model: type[M]) -> TypeAdapter[list[M]]:
    # When it is needed first: a task that lists nothing does not pay for it.
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def _read_rows(
    model: type[M], response: Response, problem: ValidationError
) -> tuple[tuple[M, ...], tuple[UnreadableRow, ...]]:
    try:
        rows = load_json(response.body, response.headers.get("content-type"))
    except RecursionError:
        raise errors.KernelResponseTooLargeError(
            "a page of the list is nested too deeply", status_code=response.status_code
        ) from None
    except ValueError:
        raise problem from None
    if rows is None:
        return (), ()
    if not isinstance(rows, list) or (rows and not any(isinstance(row, dict) for row in rows)):
        raise problem
    items: list[M] = []
    unreadable: list[UnreadableRow] = []
    for row in rows:
        try:
            items.append(read_leniently(model, row))
        except (ValueError, RecursionError) as error:
            unreadable.append(UnreadableRow(_fields_of(error), row))
    for each in unreadable:
        warn_once(f"A row in a list of {model.__name__} cannot be read ({each.problem}), and is left out")
    return tuple(items), tuple(unreadable)


def _fields_of(error: Exception) -> str:
    """Name the fields that are wrong. Not their values, and no key of the server's."""
    if not isinstance(error, ValidationError):
        return type(error).__name__
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    return ", ".join(sorted({str(p["loc"][0]) if p["loc"] else "it is no object" for p in problems}))


def _paging(headers: Mapping[str, str]) -> tuple[int | None, bool]:
    """Read where the next page starts, and whether the headers say if there is one."""
    has_more = _TRUTHS.get(_header(headers, "x-has-more").lower())
    text = _header(headers, "x-next-offset")
    # int() refuses thousands of digits with an error of its own.
    offset = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    if has_more is None:
        return (offset or None), offset is not None
    if not has_more:
        return None, True
    if not offset:
        raise ValueError(f"X-Has-More is true, but X-Next-Offset is {short_repr(text)} and names no next page")
    return offset, True


def _header(headers: Mapping[str, str], name: str) -> str:
    """Return a header's value; one that a proxy has repeated counts once."""
    values = {value.strip() for value in headers.get(name, "").split(",")}
    return values.pop() if len(values) == 1 else headers[name].strip()
