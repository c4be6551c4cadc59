"""One request of the API as a pure value, and how its parts are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.response import Response, read
from airflow_provider_kernel.client.retry import Resend
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.validation import LONGEST_NAME, check_id, is_unicode

T = TypeVar("T")

JSON = "application/json"


# Nothing changes a request: ``replace`` makes another one. To define a frozen dataclass takes twice as long.
@dataclass(eq=False)
class Request(Generic[T]):
    """
    One call of the API.

    :param path: the path, percent-encoded.
    :param parse: reads a success; may raise ``ValueError`` for what is not the API's answer.
    :param body: the JSON body, if any; no part of the ``repr``, as it may hold a payload or an output.
    :param about: fields of the answer, and the values that they must have if they are there. An answer with other
        values belongs to another request.
    :param content_type: of the body.
    :param accept: the media type of a success, beside JSON for an error.
    :param read_timeout: how long the server may work before it answers, in seconds; the client's own limit counts
        if it is longer.
    """

    method: str
    path: str
    parse: Callable[[Response], T]
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    resend: Resend = Resend.ALWAYS
    about: tuple[tuple[str, str], ...] = ()
    content_type: str = JSON
    accept: str = JSON
    read_timeout: float = 0.0

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def __iter__(self) -> Generator[Request[T], Any, T]:
        """Let a flow write ``answer = yield from request``, which type checkers infer as ``T``."""
        answer: T = yield self
        return answer

    def receive(self, response: Response) -> T:
        """
        Parse a success, or raise the error of the response.

        :raises KernelConnectionError: for an answer that belongs to another request.
        """
        answer = read(response, self.parse)
        self.check(answer)
        return answer

    def check(self, answer: T) -> None:
        """Refuse an answer that belongs to another request: a proxy, or a reused connection, may mix them up."""
        for name, wanted in self.about:
            found = getattr(answer, name, None)
            # An id may be given by its start: Kernel's CLI says that this works.
            is_own = found is None or is_same_name(found[: len(wanted)] if name == "id" else found, wanted)
            if not is_own:
                raise errors.KernelConnectionError(
                    f"the answer belongs to another request: its {name} is {short_repr(found)}, "
                    f"not {short_repr(wanted)}"
                )


def is_same_name(found: str, wanted: str) -> bool:
    """Compare a name in an answer with that of a request. The server may have its own case, and trim space."""
    return found.strip().casefold() == wanted.strip().casefold()


def json_body(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False).encode()


def query_parameters(**parameters: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name, _parameter(name, value)) for name, value in parameters.items() if value is not None)


def _parameter(name: str, value: Any) -> str:
    if not isinstance(value, str) or not is_unicode(value):
        raise errors.KernelInputError(f"{name} is {short_repr(value)}; it takes text that can be sent as UTF-8")
    if len(value) > LONGEST_NAME:
        raise errors.KernelInputError(f"{name} has {len(value)} characters; it takes {LONGEST_NAME} at most")
    return value


def path_segment(what: str, value: Any) -> str:
    """Percent-encode an id as one path segment; refuse what would address something else."""
    return quote(check_id(what, value), safe="")
