"""
When Airflow called what: the only way to tell how long Airflow took from how long we took.

Every process of the stack appends a line of JSON to one file.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

#: The environment variable with the file's path.
NOTICES = "KILL_MATRIX_NOTICES"
#: The environment variable with the path of the gate, at which tasks of gated DAGs wait until it is opened.
GATE = "KILL_MATRIX_GATE"
#: What is put after the name of a run, to tell its tasks that what ends them has happened, or that they shall fail.
ACTED, FAILS = ".acted", ".fails"


def note(what: str, ti: Any, **more: Any) -> None:
    """
    Write down that something happened.

    :param what: what.
    :param ti: the task instance that it happened to.
    :param more: what else to write down.
    """
    line = {"what": what, "at": time.time(), "pid": os.getpid(), "parent": os.getppid(), **more}
    line |= {"run_id": getattr(ti, "run_id", None), "map_index": getattr(ti, "map_index", -1)}
    # One write to a file opened for appending: it needs no lock, also in a signal handler.
    descriptor = os.open(os.environ[NOTICES], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)


def wait_at_the_gate(ti: Any) -> None:
    """
    Stop here until the test opens the gate of this run.

    :param ti: the task instance.
    """
    note("at the gate", ti)
    while not is_open(ti):
        time.sleep(0.02)


def is_open(ti: Any, what: str = "") -> bool:
    """
    Return whether the test has opened the gate of this run.

    :param ti: the task instance.
    :param what: what is put after the name of the run, to ask for something else.
    """
    return os.path.exists(f"{os.environ[GATE]}/{ti.run_id}{what}")


def hold_the_slot() -> None:
    """Keep the run going, and the DAG's only slot if it has but one, until the test opens the gate."""
    from airflow.sdk import get_current_context

    wait_at_the_gate(get_current_context()["ti"])
