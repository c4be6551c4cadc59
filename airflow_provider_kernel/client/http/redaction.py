"""Redact the API key wherever a server may have echoed it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_kernel.client.errors import KernelAPIError, KernelError
from airflow_provider_kernel.client.http.response import Response

MASK = "***"
#: The user's own data, which may contain the key on purpose and is never part of a message.
_USER_FIELDS = ("payload", "output")


def mask(text: str, key: str) -> str:
    return text.replace(key, MASK)


def mask_response(response: Response, key: str) -> Response:
    """Redact a key, except in payload and output of a success. The body of an error goes into messages."""
    # Before any text is cut for a message: a cut could leave a part of the key.
    headers = {name: mask(value, key) for name, value in response.headers.items()}
    is_success = response.status_code < 300
    body = mask_body(response.body, key) if is_success else response.body.replace(key.encode(), MASK.encode())
    return Response(response.status_code, headers, body)


def mask_body(body: bytes, key: str) -> bytes:
    """Redact a key in the body of a success, except in payload and output."""
    if key.encode() not in body:
        return body
    try:
        return json.dumps(_mask_document(json.loads(body), key)).encode()
    except (ValueError, RecursionError):
        return body.replace(key.encode(), MASK.encode())


def mask_event(data: str, key: str) -> str:
    """Redact a key in the data of an event, except in payload and output."""
    return mask_body(data.encode(), key).decode() if key in data else data


def _mask_document(value: Any, key: str) -> Any:
    if isinstance(value, str):
        return mask(value, key)
    if isinstance(value, list):
        return [_mask_document(item, key) for item in value]
    if isinstance(value, dict):
        return {name: item if name in _USER_FIELDS else _mask_document(item, key) for name, item in value.items()}
    return value


@contextmanager
def masked(key: str) -> Iterator[None]:
    """Redact a key in every :class:`KernelError` that leaves the block."""
    try:
        yield
    except KernelError as error:
        _mask(error, key)
        raise


def _mask(error: KernelError, key: str) -> None:
    error.args = tuple(mask(arg, key) if isinstance(arg, str) else arg for arg in error.args)
    if isinstance(error, KernelAPIError):
        error.message = mask(error.message, key)
        error.code = error.code and mask(error.code, key)
        error.request_id = error.request_id and mask(error.request_id, key)
        error.details = tuple((code and mask(code, key), text and mask(text, key)) for code, text in error.details)
    cause = error.__cause__
    if cause is not None and not isinstance(cause, KernelError) and key in _all_texts(cause):
        # A traceback would show the key, and the message says what happened.
        error.__cause__ = None
        error.__suppress_context__ = True


def _all_texts(error: BaseException | None) -> str:
    texts: list[str] = []
    while error is not None and len(texts) < 20:
        texts.append(f"{error} {error!r}")
        error = error.__cause__ or error.__context__
    return " ".join(texts)
