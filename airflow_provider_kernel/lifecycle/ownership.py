"""Who owns what an operator starts, and why it is ended. Every DAG file loads this: it imports next to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

DEFAULT_CANCEL_ON_KILL = True
DEFAULT_WAIT_FOR_COMPLETION = True


class Ownership(Enum):
    """What an object must not outlive."""

    TASK = "the task that started it"
    RUN = "the DAG run that started it"
    NOBODY = "nothing: it outlives both"

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Ownership:
        """
        Decide who owns what an operator starts.

        :param arguments: the operator's arguments or attributes. Those of a mapped task name no defaults.
        """
        ends_with_task = arguments.get("cancel_on_kill", DEFAULT_CANCEL_ON_KILL) and arguments.get(
            "wait_for_completion", DEFAULT_WAIT_FOR_COMPLETION
        )
        return cls.TASK if ends_with_task else cls.NOBODY


class EndReason(str, Enum):
    """Why an object is ended. Users read it as the output of the invocation."""

    TASK_ENDED_EARLY = "The Airflow task ended before the invocation"
    TASK_KILLED = "The Airflow task was killed"
    TASK_CLEARED = "The Airflow task was cleared"
    TASK_FAILED = "The Airflow task was marked as failed"
    TASK_SUCCEEDED = "The Airflow task was marked as success by hand, so that there is no output"
    TASK_SKIPPED = "The Airflow task was skipped"
    TASK_REMOVED = "The Airflow task does not exist any more"
    RECORD_UNREADABLE = "The record of an earlier try of the Airflow task cannot be read"
    RUN_FAILED = "The Airflow DAG run failed"
    RUN_OVER = "Its Airflow DAG run is over"
    CANCELLED = "Cancelled by Airflow"

    def __str__(self) -> str:
        return self.value

    def because(self, detail: str) -> str:
        """Add a detail of one line; without any, the reason stands alone."""
        return f"{self.value}: {detail}" if detail else self.value
