"""What Airflow writes to its database and reads again; its names for that have moved."""

from __future__ import annotations

from typing import Any

try:
    from airflow.serialization.decoders import smart_decode_trigger_kwargs
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # Airflow 3.1
    from airflow.serialization.serialized_objects import (
        SerializedDAG as DagSerialization,
        smart_decode_trigger_kwargs,
    )

__all__ = ["as_servers_know", "smart_decode_trigger_kwargs"]


def as_servers_know(dag: Any) -> Any:
    """
    Serialize a DAG, and read it again.

    :param dag: the DAG as its file makes it.
    """
    return DagSerialization.from_dict(DagSerialization.to_dict(dag))
