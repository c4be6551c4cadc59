"""Redact the API key wherever a server may have echoed it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_kernel.client.errors import KernelAPIError, KernelError

MASK = "***"
#: The user's own data, which may contain the key on purpose and is never part of a message.
_USER_FIELDS = ("payload", "output")


def mask_body(body: bytes, secret: str) -> bytes:
    """Redact a secret in a body, except in payload and output."""
    if secret.encode() not in body:
        return body
    try:
        return json.dumps(_mask_document(json.loads(body), secret)).encode()
    except (ValueError, RecursionError):
        return body.replace(secret.encode(), MASK.encode())


def mask_text(text: str, secret: str) -> str:
    """Redact a secret in an event's data."""
    return mask_body(text.encode(), secret).decode() if secret in text else text


def _mask_document(value: Any, secret: str) -> Any:
    if isinstance(value, str):
        return value.replace(secret, MASK)
    if isinstance(value, list):
        return [_mask_document(item, secret) for item in value]
    if isinstance(value, dict):
        return {
            name: item if name in _USER_FIELDS else _mask_document(item, secret) for name, item in value.items()
        }
    return value


@contextmanager
def masked(secret: str) -> Iterator[None]:
    """Redact a secret in every :class:`KernelError` that leaves the block."""
    try:
        yield
    except KernelError as error:
        _mask(error, secret)
        raise


def _mask(error: KernelError, secret: str) -> None:
    error.args = tuple(arg.replace(secret, MASK) if isinstance(arg, str) else arg for arg in error.args)
    if isinstance(error, KernelAPIError):
        error.message = error.message.replace(secret, MASK)
        error.code = error.code and error.code.replace(secret, MASK)
        error.request_id = error.request_id and error.request_id.replace(secret, MASK)
        error.details = tuple(
            (code and code.replace(secret, MASK), text and text.replace(secret, MASK))
            for code, text in error.details
        )
    cause = error.__cause__
    if cause is not None and not isinstance(cause, KernelError) and secret in _all_texts(cause):
        # A traceback would show it. The message tells what happened.
        error.__cause__ = None
        error.__suppress_context__ = True


def _all_texts(error: BaseException | None) -> str:
    texts: list[str] = []
    while error is not None and len(texts) < 20:
        texts.append(f"{error} {error!r}")
        error = error.__cause__ or error.__context__
    return " ".join(texts)
