"""Turn an answer of the API into a model or an error. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.bounds import MAX_ERROR_DETAILS
from airflow_provider_kernel.client.http.json_body import load_json
from airflow_provider_kernel.client.http.model import ApiModel, read_leniently
from airflow_provider_kernel.client.sanitize import sanitize_line
from airflow_provider_kernel.client.timestamps import usable_time

T = TypeVar("T")
M = TypeVar("M", bound=ApiModel)

#: Max characters of a body that is not the API's: enough to see whose it is.
_FOREIGN_CHARACTERS = 150


class Response:
    """An answer as it came: header names in lower case, the body without transfer and content encodings."""

    def __init__(self, status_code: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status_code = status_code
        self.headers = headers
        self.body = body

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def read(response: Response, parse: Callable[[Response], T]) -> T:
    """
    Parse a success, or raise the error of the answer.

    :param parse: reads a success; raises ``ValueError`` for what is not the API's answer.
    :raises KernelAPIError: for a 4xx or 5xx, as the class of its status.
    :raises KernelResponseError: for a redirect, and for a success that is not the API's JSON.
    """
    if response.status_code >= 400:
        raise error_from(response)
    if response.status_code >= 300:
        target = response.headers.get("location", "nowhere")
        raise errors.KernelResponseError(
            f"{response.status_code}, a redirect to {sanitize_line(target)}, which is not followed: "
            "the API key is sent to the connection's host only",
            status_code=response.status_code,
        )
    try:
        return parse(response)
    except (ValueError, RecursionError) as error:
        problem = _what_is_wrong(error)
        raise errors.KernelResponseError(
            f"{response.status_code}, but the body is not the Kernel API's JSON: {problem}",
            status_code=response.status_code,
        ) from None


def json_of(model: type[M]) -> Callable[[Response], M]:
    """Build the parser of a body that is one model's JSON."""

    def parse(response: Response) -> M:
        try:
            return model.model_validate_json(response.body)
        except ValidationError as error:
            try:
                document = load_json(response.body, response.headers.get("content-type"))
                return read_leniently(model, document)
            except (ValueError, RecursionError):
                raise error from None

    return parse


def rows_of(model: type[M]) -> Callable[[Response], list[M]]:
    """Build the parser of a body that is an array of one model's JSON, without paging. ``null`` is an empty one."""

    def parse(response: Response) -> list[M]:
        rows = load_json(response.body, response.headers.get("content-type"))
        if rows is not None and not isinstance(rows, list):
            raise ValueError("it is no array")
        return [read_leniently(model, row) for row in rows or ()]

    return parse


def content(response: Response) -> bytes:
    """Return a body that is a file."""
    refuse_page(response)
    return response.body


def done(response: Response) -> None:
    """Parse an answer that says only that something was done, which the page of a proxy does not say."""
    refuse_page(response)


def refuse_page(response: Response) -> None:
    """Refuse a page: what answers with one is a proxy. The API sends none, nor do the machines of browsers."""
    if response.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/html":
        raise ValueError("it is a page")


def is_event_stream(status_code: int, headers: Mapping[str, str]) -> bool:
    """Tell whether the answer is an event stream, and not a proxy's page, for example."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return status_code == 200 and media_type == "text/event-stream"


def nothing(response: Response) -> None:
    """Parse an answer that has no body."""


def error_from(response: Response) -> errors.KernelAPIError:
    """Build the error of a 4xx or 5xx: the API's code and text, or the start of a body that is not the API's."""
    code: str | None = None
    message: str | None = None
    details: list[tuple[str | None, str | None]] = []
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        code, message = _text_or_none(document.get("code")), _text_or_none(document.get("message"))
        inner = document.get("details")
        for entry in [*(inner if isinstance(inner, list) else []), document.get("inner_error")]:
            if isinstance(entry, dict):
                pair = (_text_or_none(entry.get("code")), _text_or_none(entry.get("message")))
                if any(pair):
                    details.append(pair)
    if message is None:
        message = sanitize_line(response.text(), _FOREIGN_CHARACTERS) or "(no readable text)"
    return _error_class(response.status_code)(
        message,
        status_code=response.status_code,
        code=code,
        details=details[:MAX_ERROR_DETAILS],
        retry_after=parse_retry_after(
            response.headers.get("retry-after"), now=parse_http_date(response.headers.get("date"))
        ),
        request_id=_text_or_none(response.headers.get("x-request-id")),
    )


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """
    Read a ``Retry-After`` header: seconds, or an HTTP date.

    :param now: when the server sent the answer, by its own clock; without it, this machine's clock counts.
    :return: seconds from then, never below 0; ``None`` when it is absent or makes no sense.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    when = parse_http_date(text)
    return None if when is None else max(0.0, (when - (now or datetime.now(timezone.utc))).total_seconds())


def parse_http_date(value: str | None) -> datetime | None:
    """Read a date of an HTTP header, in UTC; ``None`` when it is absent or makes no sense."""
    try:
        when = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    return usable_time(when if when.tzinfo else when.replace(tzinfo=timezone.utc))


def _error_class(status_code: int) -> type[errors.KernelAPIError]:
    by_status: dict[int, type[errors.KernelAPIError]] = {
        400: errors.KernelBadRequestError,
        401: errors.KernelAuthenticationError,
        403: errors.KernelPermissionError,
        404: errors.KernelNotFoundError,
        409: errors.KernelConflictError,
        422: errors.KernelBadRequestError,
        429: errors.KernelRateLimitError,
    }
    default = errors.KernelServerError if status_code >= 500 else errors.KernelAPIError
    return by_status.get(status_code, default)


def _text_or_none(value: Any) -> str | None:
    return (sanitize_line(value) or None) if isinstance(value, str) else None


def _what_is_wrong(error: Exception) -> str:
    if isinstance(error, ValidationError):
        # Without the values: an answer may hold data that must not be logged.
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'body'}: {p['msg']}" for p in problems[:3])
    return sanitize_line(str(error)) or type(error).__name__
