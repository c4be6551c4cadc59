"""Who owns what an operator starts. Imports next to nothing: every DAG file that has such an operator loads it."""

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
