"""What a test of a connection tells a person: one sentence for each way it can end, and then the details."""

from __future__ import annotations

from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import (
    ConnectionProblem,
    KernelAPIError,
    KernelAuthenticationError,
    KernelConnectionError,
    KernelError,
    KernelNotFoundError,
    KernelPermissionError,
    KernelRateLimitError,
    KernelResponseError,
    KernelServerError,
)
from airflow_provider_kernel.client.resources.auth import AuthContext

_NOT_REACHED = {
    ConnectionProblem.NAME: "The host of {url} is not known here",
    ConnectionProblem.REFUSED: "Nothing listens at {url}",
    ConnectionProblem.TLS: "No secure connection to {url} can be made",
    ConnectionProblem.TIMEOUT: "{url} does not answer in time",
    ConnectionProblem.NETWORK: "The connection to {url} fails on the way",
}


def why_it_works(context: AuthContext, config: KernelConfig) -> str:
    """
    Say whose key it is.

    :param context: what the API says of the key.
    :param config: what was tested.
    """
    where = f"project {context.project_id}" if context.project_id else "its default project"
    owner = context.organization.id
    return f"Connected to {config.base_url}: the key belongs to organization {owner} and acts in {where}"


def why_it_does_not(error: KernelError, config: KernelConfig | None) -> str:
    """
    Say what is wrong.

    :param error: what went wrong.
    :param config: what was tested; ``None`` when the connection itself cannot be right.
    """
    return str(error) if config is None else f"{_kind(error, config)}. {error}"


def _kind(error: KernelError, config: KernelConfig) -> str:
    url = config.base_url
    if isinstance(error, KernelConnectionError):
        return _NOT_REACHED[error.problem].format(url=url)
    if isinstance(error, KernelNotFoundError) and error.code == "project_not_found":
        return f"The project {config.project!r} is unknown, or archived"
    if isinstance(error, (KernelResponseError, KernelNotFoundError)):
        return f"Something answers at {url}, but it is not the Kernel API"
    if isinstance(error, KernelAPIError) and error.code is None:
        return f"Something answers at {url}, but it is not the Kernel API, or a proxy stands before it"
    if isinstance(error, KernelAuthenticationError):
        return f"{url} does not accept the API key"
    if isinstance(error, KernelPermissionError):
        where = "in its own project" if config.project is None else f"in the project {config.project!r}"
        return f"The API key is valid, but it may not act {where}"
    if isinstance(error, KernelRateLimitError):
        return f"{url} takes no more requests just now; wait a moment and test again"
    if isinstance(error, KernelServerError):
        return f"The Kernel API at {url} has a fault of its own; wait a moment and test again"
    return f"{url} does not answer as it should"
