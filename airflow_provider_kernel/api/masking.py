"""Keeping the API key out of errors, wherever a server may have echoed it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_kernel.api.errors import KernelAPIError, KernelError

MASK = "***"


@contextmanager
def masked(secret: str) -> Iterator[None]:
    """
    Take a secret out of the errors of our tree that leave the block.

    :param secret: the secret.
    """
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
