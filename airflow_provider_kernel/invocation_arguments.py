"""
The arguments of what deals with invocations: the rows of the table in :mod:`airflow_provider_kernel.arguments`.

A class whose row is here imports its check from here, too, so that the row is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_kernel._compat import conf
from airflow_provider_kernel.argument_checks import (
    Check,
    check_age,
    check_count,
    check_flag,
    check_json,
    check_key,
    check_named_invocation,
    check_seconds,
    check_text,
    check_texts,
    leave_to_airflow,
    one_of,
    or_none,
    some_of,
)
from airflow_provider_kernel.arguments import (
    JSON_TEXT_HAS_NO_ITEMS,
    OUTPUT,
    TABLE,
    Arguments,
    Conflict,
    Values,
    check_arguments as check_arguments,
    check_constants as check_constants,
    pushes_items,
)
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.client.validation import check_name, is_missing


def _check_async_timeout(name: str, value: Any) -> None:
    from airflow_provider_kernel.client.resources.invocations.time_limits import check_async_timeout

    check_async_timeout(name, value)


def _check_final_status(name: str, value: Any) -> None:
    from airflow_provider_kernel.client.resources.invocations.status import check_final_status

    check_final_status(name, value)


def check_correlation(key: str, payload: Any) -> None:
    """Refuse a payload into which no mark can be put under the ``correlation_key``."""
    if isinstance(payload, Mapping) and key not in payload:
        return
    # The type alone: payloads belong into no message.
    has = f"one that has a {key!r} already" if isinstance(payload, Mapping) else f"of type {type(payload).__name__}"
    raise KernelInputError(
        f"correlation_key={key!r} needs a payload that is a JSON object without that key; this one is {has}"
    )


def _correlation(values: Values) -> None:
    key, payload = values.get("correlation_key"), values.get("payload")
    if key is not None and payload is not None:
        check_correlation(key, payload)


def _check_present_id(values: Values) -> None:
    """Refuse a constant that names no invocation, unless that is said to be in order."""
    if "invocation_id" in values:
        value = values["invocation_id"]
        if not (is_missing(value) and values.get("if_missing") == "skip"):
            check_named_invocation("invocation_id", value)


def _no_items(result: str) -> Conflict:
    return Conflict(
        pushes_items, f"multiple_outputs=True needs a task that returns a dict; this one returns {result}"
    )


def _sweeps_no_app(values: Values) -> bool:
    return values.get("app_name", "") is None and "invocations" in values.get("what", ("invocations",))


def _defers_without_a_wait(values: Values) -> bool:
    # Said of this task, and not of all tasks of a DAG or an installation.
    return (
        values.get("wait_for_completion") is False
        and values.get("deferrable") is True
        and (values.get("default_args") or {}).get("deferrable") is not True
        and not conf.getboolean("operators", "default_deferrable", fallback=False)
    )


_CONNECTION: dict[str, Check] = {"kernel_conn_id": check_name}
_LOG: dict[str, Check] = {"stream_logs": check_flag, "max_log_lines": check_count}
_END: dict[str, Check] = {
    "invocation_id": leave_to_airflow,  # by _check_present_id
    "if_finished": or_none(one_of("skip", "fail", "ignore")),
    "if_missing": one_of("skip", "fail"),
    **_CONNECTION,
}
_ENDS: dict[str, Any] = {"conflicts": (_no_items("a status"),), "joint_checks": (_check_present_id,)}

TABLE.update(
    {
        "KernelInvokeOperator": Arguments(
            {
                "app_name": check_name,
                "action_name": check_name,
                "payload": check_json,
                "version": check_name,
                "async_timeout_seconds": or_none(_check_async_timeout),
                "wait_for_completion": check_flag,
                "deferrable": check_flag,
                "poll_interval": check_seconds,
                **_LOG,
                "cancel_on_kill": check_flag,
                "durable": check_flag,
                "correlation_key": or_none(check_key),
                **OUTPUT,
                "live_view_link": check_flag,
                **_CONNECTION,
            },
            conflicts=(
                JSON_TEXT_HAS_NO_ITEMS,
                Conflict(
                    lambda values: pushes_items(values) and values.get("wait_for_completion") is False,
                    "multiple_outputs=True needs wait_for_completion=True: an id has no items to push",
                ),
                Conflict(
                    _defers_without_a_wait,
                    "deferrable=True needs wait_for_completion=True: a task that does not wait has nothing to "
                    "defer for. Leave one of the two out",
                ),
            ),
            joint_checks=(_correlation,),
        ),
        "KernelUpdateInvocationOperator": Arguments(
            {**_END, "status": _check_final_status, "invocation_output": check_json}, **_ENDS
        ),
        "KernelCompleteInvocationOperator": Arguments({**_END, "invocation_output": check_json}, **_ENDS),
        "KernelCancelInvocationOperator": Arguments({**_END, "reason": check_text}, **_ENDS),
        "KernelInvocationTaskOperator": Arguments(
            {
                "invocation_id": check_named_invocation,
                "include_traceback": check_flag,
                "max_output_bytes": check_count,
                "python_callable": leave_to_airflow,
                "op_args": leave_to_airflow,
                "op_kwargs": leave_to_airflow,
                **_CONNECTION,
            }
        ),
        "KernelCancelOrphansOperator": Arguments(
            {
                "what": some_of("invocations", "browsers"),
                "app_name": or_none(check_name),
                "correlation_key": check_key,
                "dag_ids": check_texts,
                "dry_run_only": check_flag,
                "since": check_age,
                **_CONNECTION,
            },
            conflicts=(
                _no_items("a list"),
                Conflict(_sweeps_no_app, "invocations are swept by app: give app_name"),
            ),
        ),
        "KernelInvocationSensor": Arguments(
            {"invocation_id": check_named_invocation, "deferrable": check_flag, **_LOG, **OUTPUT, **_CONNECTION},
            conflicts=(JSON_TEXT_HAS_NO_ITEMS,),
        ),
        "KernelInvocationNotifier": Arguments(
            {
                "status": or_none(_check_final_status),
                "output": check_json,
                "output_from": or_none(check_name),
                "reason": or_none(check_text),
                "invocation_id": check_named_invocation,
                "max_output_bytes": check_count,
                "context": leave_to_airflow,
                **_CONNECTION,
            },
            conflicts=(
                Conflict(
                    lambda values: (
                        values.get("output_from") is not None and values.get("output", UNSET) is not UNSET
                    ),
                    "both output and output_from are given; an invocation has one output: leave one of the two out",
                ),
            ),
        ),
        "KernelInvocationFinishedTrigger": Arguments(
            {
                "app_name": or_none(check_name),
                "action_name": or_none(check_name),
                "version": or_none(check_name),
                "status": or_none(one_of("succeeded", "failed")),
                "poll_interval": check_seconds,
                **_CONNECTION,
            }
        ),
    }
)
