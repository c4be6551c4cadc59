"""The message of a connection test (the Test button): one sentence for each outcome, followed by the details."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.destination import ConnectionProblem
from airflow_provider_kernel.client.errors import (
    KernelAPIError,
    KernelAuthenticationError,
    KernelConfigurationError,
    KernelConnectionError,
    KernelError,
    KernelNotFoundError,
    KernelPermissionError,
    KernelRateLimitError,
    KernelResponseError,
    KernelServerError,
)
from airflow_provider_kernel.client.redaction import mask
from airflow_provider_kernel.client.resources.auth import AuthContext, get_auth_context
from airflow_provider_kernel.client.retry import RetryPolicy

_CONNECTION_PROBLEMS = {
    ConnectionProblem.NAME: "The host of {url} cannot be resolved",
    ConnectionProblem.REFUSED: "Nothing listens at {url}",
    ConnectionProblem.TLS: "No secure connection to {url} can be made",
    ConnectionProblem.NO_TLS: "What answers at {url} does not speak TLS",
    ConnectionProblem.HANDSHAKE: "The TLS handshake with {url} is cut",
    ConnectionProblem.TIMEOUT: "{url} does not answer in time",
    ConnectionProblem.NETWORK: "The connection to {url} breaks",
}


def check_connection(load: Callable[[], KernelConfig]) -> tuple[bool, str]:
    """
    Ask the API for the key's organization and project. It changes nothing at Kernel.

    :param load: reads the connection.
    :return: whether it worked, and a message for the user, which never holds the key.
    """
    config = None
    try:
        config = load()
        # A user waits for the answer: one attempt, with short timeouts.
        interactive = replace(
            config,
            source=None,
            retry=RetryPolicy(max_attempts=1),
            connect_timeout=min(config.connect_timeout, 10.0),
            read_timeout=min(config.read_timeout, 15.0),
        )
        with KernelClient(interactive) as client:
            context = client.send(get_auth_context())
    except KernelError as error:
        return False, describe_failure(error, config)
    return True, describe_success(context, config)


def describe_success(context: AuthContext, config: KernelConfig) -> str:
    where = f"project {context.project_id}" if context.project_id else "its default project"
    owner = context.organization.id
    return mask(f"Connected to {config.base_url}: the key belongs to organization {owner} and acts in {where}")


def describe_failure(error: KernelError, config: KernelConfig | None) -> str:
    """Name the cause, followed by the error itself. ``config`` is ``None`` if the connection itself is invalid."""
    if isinstance(error, KernelConfigurationError):
        return str(error)  # it names the setting, and nothing was sent
    if config is None or (error.is_foreign and error.destination is not None):
        return str(error)  # it says by itself that it is not Kernel that answers
    summary, error.destination = _summarize_failure(error, config), None  # the summary names the host
    return mask(f"{summary}. {error}")


def _summarize_failure(error: KernelError, config: KernelConfig) -> str:
    url = config.base_url
    if isinstance(error, KernelConnectionError):
        return _CONNECTION_PROBLEMS[error.problem].format(url=url)
    if isinstance(error, KernelNotFoundError) and error.code == "project_not_found":
        return f"The project {config.project!r} is unknown, or archived"
    has_code = not isinstance(error, KernelAPIError) or error.code is not None
    if not has_code or isinstance(error, (KernelResponseError, KernelNotFoundError)):
        return error.describe_foreign(url)
    if isinstance(error, KernelAuthenticationError):
        return f"{url} does not accept the API key"
    if isinstance(error, KernelPermissionError):
        where = "in its own project" if config.project is None else f"in the project {config.project!r}"
        return f"The API key is valid, but it may not act {where}"
    if isinstance(error, KernelRateLimitError):
        return f"{url} limits the rate of requests; wait a moment and test again"
    if isinstance(error, KernelServerError):
        return f"The Kernel API at {url} has an internal error; wait a moment and test again"
    return f"{url} does not answer as expected"
