"""What every emulated resource has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from airflow_provider_kernel.testing.backend import Backend
    from airflow_provider_kernel.testing.projects import Caller


class Room:
    """
    One resource of the API: its state and its endpoints.

    :param backend: the parts that all resources share.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def routes(self) -> Sequence[BaseRoute]:
        """Return the endpoints."""
        raise NotImplementedError

    def places_in_use(self) -> int:
        """Return how many of the organisation's sessions this resource holds. By default, none."""
        return 0

    def stop(self) -> None:
        """Stop running code; the state stays. By default, no code runs."""

    def reset(self) -> None:
        """Forget what clients did; what tests set up stays. By default, there is nothing to forget."""

    def caller(self, request: Request) -> Caller:
        """
        Authenticate a request.

        :raises ApiError: 401, 403 or 404.
        """
        return self.backend.projects.authenticate(
            request.headers.get("authorization"),
            request.headers.get("x-kernel-project-id"),
            request.headers.get("x-kernel-project"),
            self.backend.switches,
        )
