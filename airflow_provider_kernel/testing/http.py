"""Reading requests and writing pages, for all endpoints."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from airflow_provider_kernel.testing.clock import parse_since
from airflow_provider_kernel.testing.errors import invalid

if TYPE_CHECKING:
    from starlette.requests import Request


async def read_object(request: Request, fields: tuple[str, ...], *, refuse_unknown: bool) -> dict[str, Any]:
    """
    Read a body that is a JSON object.

    :param fields: the known fields.
    :param refuse_unknown: whether another field is a 400.
    :raises ApiError: 400.
    """
    try:
        body = json.loads(await request.body())
        json.dumps(body, ensure_ascii=False).encode()  # an unpaired surrogate could not be sent back
    except ValueError as error:
        raise invalid(f"The body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise invalid("The body must be a JSON object")
    unknown = sorted(body.keys() - set(fields))
    if unknown and refuse_unknown:
        raise invalid(f"Unknown field: {', '.join(unknown)}; the fields are {', '.join(fields)}")
    return body


def read_since(request: Request, now: int) -> int | None:
    """
    Read the query parameter `since`.

    :param now: nanoseconds since 1970.
    :return: nanoseconds since 1970, or None without the parameter.
    :raises ApiError: 400.
    """
    text = request.query_params.get("since")
    if text is None:
        return None
    try:
        return parse_since(text, now)
    except (ValueError, OverflowError) as error:
        raise invalid(f"since: {error}") from error


def page(request: Request, rows: list[dict[str, Any]]) -> Response:
    """
    Return the page of a list that `limit` and `offset` select.

    :param rows: the whole list.
    :raises ApiError: 400 if either is out of bounds.
    """
    limit = _read_number(request, "limit", 20, 1, 100)
    offset = _read_number(request, "offset", 0, 0, None)
    more = len(rows) > offset + limit
    headers = {
        "X-Limit": str(limit),
        "X-Offset": str(offset),
        "X-Has-More": "true" if more else "false",
        "X-Next-Offset": str(offset + limit if more else 0),
    }
    return JSONResponse(rows[offset : offset + limit], headers=headers)


def is_json(text: str) -> bool:
    """Return whether a text is JSON; `NaN` and `Infinity` are not."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_number(request: Request, name: str, default: int, least: int, most: int | None) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit():
        # int() raises an error of its own for thousands of digits; no list is as long as sys.maxsize.
        number = int(text) if len(text) < 19 else sys.maxsize
        if least <= number <= (sys.maxsize if most is None else most):
            return number
    bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
    raise invalid(f"{name} must be a whole number {bounds}")
