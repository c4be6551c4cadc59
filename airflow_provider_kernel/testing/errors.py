"""Error answers, and the body that Kernel gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_kernel.testing.settings import Switches


class ApiError(Exception):
    """
    An error answer.

    :param status: HTTP status.
    :param code: `code` of the body.
    :param message: `message` of the body.
    :param inner_code: `inner_error.code` of the body; None leaves `inner_error` out.
    :param headers: additional response headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner_code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.inner_code = inner_code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the `Error` body."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.inner_code is not None:
            body["inner_error"] = {"code": self.inner_code, "message": self.message}
        return body


def invalid(message: str, code: str = "bad_request") -> ApiError:
    """Return a 400 for an invalid input."""
    return ApiError(400, code, message, inner_code="invalid_input")


def code_of(status: int, switches: Switches) -> str:
    """Return the default `code` of an HTTP status."""
    known = {
        400: "bad_request",
        401: "unauthorized",
        403: "forbidden",
        404: switches.not_found_code,
        405: "method_not_allowed",
        409: switches.conflict_code,
        429: switches.rate_limit_code,
        529: switches.capacity_code,
    }
    return known.get(status, "internal_error" if status >= 500 else "bad_request")
