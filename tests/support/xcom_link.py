"""The way of a value from one task to the next, with Airflow's own parts, without processes and a database."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
from airflow.sdk.api.datamodels._generated import XComResponse
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time import comms
from pydantic import JsonValue, TypeAdapter

_ANY = TypeAdapter(JsonValue)
_TO_SUPERVISOR = TypeAdapter(comms.ToSupervisor)
_TO_TASK = TypeAdapter(comms.ToTask)


def push_and_pull(value: Any) -> Any:
    """
    Push a value to XCom, store it as Postgres does, and pull it.

    :raises Exception: whatever Airflow or Postgres raises.
    """
    stored = _store(_push(BaseXCom.serialize_value(value)))
    return BaseXCom.deserialize_value(_pull(stored))


def _push(serialized: Any) -> str:
    message = comms.SetXCom(key="k", value=serialized, dag_id="d", run_id="r", task_id="t")
    frame = comms._RequestFrame(id=1, body=message.model_dump()).as_bytes()
    received = msgspec.msgpack.decode(bytes(frame[4:]), type=comms._RequestFrame)
    request = _TO_SUPERVISOR.validate_python(received.body)
    # As httpx writes a body.
    return json.dumps(request.value, allow_nan=False, ensure_ascii=False).encode().decode()


def _store(body: str) -> Any:
    text = json.dumps(_ANY.validate_python(json.loads(body)))
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("unsupported Unicode escape sequence: \\u0000 cannot be converted to text")
    # JSONB holds decimal numbers; one without fraction digits comes back as an integer.
    return json.loads(
        text, parse_float=lambda n: float(n) if Decimal(n).as_tuple().exponent < 0 else int(Decimal(n))
    )


def _pull(stored: Any) -> Any:
    response = XComResponse.model_validate_json(XComResponse(key="k", value=stored).model_dump_json())
    result = comms.XComResult(key=response.key, value=response.value)
    frame = comms._ResponseFrame(id=1, body=result.model_dump()).as_bytes()
    received = msgspec.msgpack.decode(bytes(frame[4:]), type=comms._ResponseFrame)
    return _TO_TASK.validate_python(received.body)
