"""
Why Airflow gives no connection: there is none, or it cannot be read.

Airflow says "not found" for both. It asks one place of secrets after the other, and passes over one that fails. So
after a "not found" each is asked once more, in the same order. Only if none of them fails, there is no connection.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_kernel.client.errors import KernelConfigurationError, KernelConfigurationUnavailableError
from airflow_provider_kernel.client.sanitize import sanitize_line
from airflow_provider_kernel.hooks.names import shown_names
from airflow_provider_kernel.lifecycle.task_instances import call_from_loop

_FIELDS = ("conn_type", "description", "extra", "host", "login", "password", "port", "schema")
#: The fields that take nothing but text.
_TEXTS = tuple(name for name in _FIELDS if name not in ("extra", "port"))
#: The ids that Airflow stores.
_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}")
_SHOWN_CHARACTERS = 300
_API_SERVER = "Airflow's API server"


def check_absent(conn_id: str) -> None:
    """
    Return if there is no such connection. To be called after Airflow has said so.

    :raises KernelConfigurationError: when there is one, which Airflow cannot read. The message says what is wrong
        with it, and never shows its text.
    :raises KernelConfigurationUnavailableError: when a place of secrets does not answer.
    """
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    if not _ID.fullmatch(conn_id):
        return  # Airflow stores none of this id, and its API server may fail on it
    for backend in ensure_secrets_backend_loaded():
        _check_backend(backend, conn_id)


async def acheck_absent(conn_id: str) -> None:
    """Do what :func:`check_absent` does, without blocking the event loop."""
    await call_from_loop(lambda: check_absent(conn_id))


def denied(conn_id: str, error: Exception) -> KernelConfigurationError:
    """Make the error for a connection that Airflow does not give to this task."""
    return KernelConfigurationError(f"Airflow connection {conn_id!r}: {_text_of(error)}")


def _check_backend(backend: Any, conn_id: str) -> None:
    from airflow.sdk.execution_time.secrets.execution_api import ExecutionAPISecretsBackend

    if isinstance(backend, ExecutionAPISecretsBackend):
        _check_supervisor(conn_id)
        return
    text: str | None = None
    try:
        with contextlib.suppress(NotImplementedError):  # it has connections, and no texts
            text = backend.get_conn_value(conn_id)
        problem = describe_problem(text) if text else None
        found = problem is None and backend.get_connection(conn_id)
    except Exception as error:  # noqa: BLE001 (whatever a place of secrets does)
        if not text:
            raise _unavailable(conn_id, type(backend).__name__, error) from None
        problem, found = f"cannot be read ({type(error).__name__})", None  # its message may show the text
    if problem is not None:
        raise KernelConfigurationError(f"Airflow connection {conn_id!r}: {_place_in(backend, conn_id)} {problem}")
    if found:
        raise _just_now(conn_id)


def _check_supervisor(conn_id: str) -> None:
    """Ask Airflow's API server, as its own backend does; that one takes every failure for "not found"."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection

    try:
        answer = task_runner.SUPERVISOR_COMMS.send(GetConnection(conn_id=conn_id))
    except AirflowRuntimeError as error:
        raise _unavailable(conn_id, _API_SERVER, error.error.error.value) from None
    except Exception as error:  # noqa: BLE001 (as above)
        raise _unavailable(conn_id, _API_SERVER, error) from None
    if not isinstance(answer, ErrorResponse):
        raise _just_now(conn_id)
    if answer.error != ErrorType.CONNECTION_NOT_FOUND:
        raise _unavailable(conn_id, _API_SERVER, answer.error.value)


def describe_problem(text: str) -> str | None:
    """
    Say why Airflow cannot read a connection's text, as the end of a sentence that shows nothing of its values.

    :return: ``None`` if nothing is wrong with it.
    """
    text = text.strip()
    if not text:
        return "holds nothing but spaces"
    return _problem_of_json(text) if text.startswith("{") else _problem_of_uri(text)


def _problem_of_json(text: str) -> str | None:
    try:
        fields = json.loads(text)
    except RecursionError:
        return "is not valid JSON: it is nested too deeply"
    except json.JSONDecodeError as error:
        return f"is not valid JSON: {error.msg} at character {error.pos + 1} of {len(text)}"
    unknown = sorted(set(fields) - {*_FIELDS})
    if unknown:
        return (
            f"has {shown_names(unknown)}, which is no field of a connection; it takes {', '.join(_FIELDS)}. "
            "The API key is the password; settings of the provider stand in the extra"
        )
    for name in _TEXTS:
        # Airflow may create such a connection, and fail when it writes it as a URI.
        if not isinstance(fields.get(name) or "", str):
            return f"has a {name} of type {type(fields[name]).__name__}; it takes text"
    try:
        int(fields.get("port") or 0)
    except (TypeError, ValueError, OverflowError):
        return "has a port that is no number"
    return None


def _problem_of_uri(text: str) -> str | None:
    try:
        _ = urlsplit(text).port
    except ValueError:
        return (
            "is a URI whose host or port cannot be read. Write special characters of the key as percent codes "
            '(%40 for @), or write JSON: {"conn_type": "kernel", "password": "..."}'
        )
    return None


def _place_in(backend: Any, conn_id: str) -> str:
    name = type(backend).__name__
    if name == "EnvironmentVariablesBackend":
        return f"the environment variable AIRFLOW_CONN_{conn_id.upper()}"
    return f"its text in {name}"


def _just_now(conn_id: str) -> KernelConfigurationUnavailableError:
    """Make the error for a connection that is there after all: a read failed, or it was made meanwhile."""
    return KernelConfigurationUnavailableError(f"Airflow connection {conn_id!r} could not be read just now")


def _unavailable(conn_id: str, where: str, why: Exception | str) -> KernelConfigurationUnavailableError:
    what = why if isinstance(why, str) else _text_of(why)
    return KernelConfigurationUnavailableError(
        f"Airflow connection {conn_id!r} cannot be read at the moment: {where} says: {what}"
    )


def _text_of(error: Exception) -> str:
    from airflow.sdk import log as sdk_log

    if not isinstance(error, OSError):
        return type(error).__name__  # its message may show what could not be read, and so the key
    text = str(sdk_log.redact(str(error)))  # type: ignore[attr-defined]
    return sanitize_line(text, _SHOWN_CHARACTERS) or type(error).__name__
