"""
The name and the tags of a task's browser. They say whose it is, also where Airflow has no record of it.

Its name is made from the id of the task instance, which Airflow replaces for each try, after a clear, and when a
task instance is deleted and made anew. So Kernel itself refuses a second browser for one try, and a browser of the
same task with another id is a former try's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from airflow_provider_kernel.browser_arguments import OWNER_TAG_PREFIX, check_user_tags
from airflow_provider_kernel.client.resources.browsers.options import is_tag_value
from airflow_provider_kernel.lifecycle.resource import StartMark
from airflow_provider_kernel.lifecycle.task_instances import is_mapped

OWNER = f"{OWNER_TAG_PREFIX}owner"
DAG = f"{OWNER_TAG_PREFIX}dag"
RUN = f"{OWNER_TAG_PREFIX}run"
TASK = f"{OWNER_TAG_PREFIX}task"
MAP_INDEX = f"{OWNER_TAG_PREFIX}map"
TRY = f"{OWNER_TAG_PREFIX}try"
TASK_INSTANCE = f"{OWNER_TAG_PREFIX}ti"
START = f"{OWNER_TAG_PREFIX}start"
DAG_VERSION = f"{OWNER_TAG_PREFIX}dag_version"

_HASHED = "sha256:"


class BrowserMark(NamedTuple):
    """
    Whose browsers are.

    :param owner: names the Airflow.
    :param ti_id: the id of the task instance.
    :param dag_version: the id of the DAG's version, which no other Airflow has, where nothing else says which
        Airflow this is: two of them with the same DAGs must not end each other's browsers.
    """

    owner: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    ti_id: str
    dag_version: str | None = None

    @classmethod
    def of(cls, ti: Any, owner: str, *, is_owner_named: bool = True) -> BrowserMark:
        map_index = ti.map_index if is_mapped(ti) else -1
        version = None if is_owner_named else str(ti.dag_version_id)
        return cls(owner, ti.dag_id, ti.run_id, ti.task_id, map_index, ti.try_number, str(ti.id), version)

    @property
    def name(self) -> str:
        """The name of the one browser of this try."""
        return f"airflow-{_digest(self.ti_id)[:40]}"

    @property
    def task_tags(self) -> dict[str, str]:
        """The tags that the browsers of all tries of the task instance have."""
        return {
            OWNER: tag_value(self.owner),
            DAG: tag_value(self.dag_id),
            RUN: tag_value(self.run_id),
            TASK: tag_value(self.task_id),
            MAP_INDEX: str(self.map_index),
            **({} if self.dag_version is None else {DAG_VERSION: tag_value(self.dag_version)}),
        }

    def tags(self, mark: StartMark) -> dict[str, str]:
        """The tags of what a start of this try starts."""
        return {
            **self.task_tags,
            TRY: str(self.try_number),
            TASK_INSTANCE: tag_value(self.ti_id),
            START: tag_value(mark.token),
        }

    def is_older_than(self, tags: Mapping[str, str]) -> bool:
        """
        Return whether a browser is of a later try, so that this process is of a former one that came back.

        Airflow's ids of task instances begin with the time at which they were made.
        """
        own, other = _time_in(self.ti_id), _time_in(tags.get(TASK_INSTANCE, ""))
        return own is not None and other is not None and other > own


def run_tags(dag_id: str, run_id: str) -> dict[str, str]:
    """The tags that the browsers of all tasks of a DAG run have."""
    return {DAG: tag_value(dag_id), RUN: tag_value(run_id)}


def owner_tags(owner: str) -> dict[str, str]:
    """The tags that all browsers of an Airflow have."""
    return {OWNER: tag_value(owner)}


def read_start_mark(tags: Mapping[str, str]) -> dict[str, Any]:
    """Read the task that tags name. A part that is only a hash, or not there, is left out."""
    texts = {
        "dag_id": tags.get(DAG),
        "run_id": tags.get(RUN),
        "task_id": tags.get(TASK),
    }
    read: dict[str, Any] = {key: text for key, text in texts.items() if text and not text.startswith(_HASHED)}
    map_index = tags.get(MAP_INDEX, "")
    if map_index.removeprefix("-").isdecimal():
        read["map_index"] = int(map_index)
    return read


def tag_value(text: str) -> str:
    """Return a text as the value of a tag: as it is, or its hash where tags refuse it."""
    # A text that looks like a hash is hashed, too: else two texts might have one value.
    if is_tag_value(text) and not text.startswith(_HASHED):
        return text
    return f"{_HASHED}{_digest(text)}"


def join_tags(of_user: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """
    Join the user's tags and those of the mark.

    :raises KernelInputError: when the user's are too many, or may be mistaken for the others.
    """
    check_user_tags("tags", of_user)
    return {**of_user, **own}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _time_in(ti_id: str) -> int | None:
    """Return the milliseconds in a UUID of version 7; ``None`` for another id."""
    try:
        found = UUID(ti_id)
    except ValueError:
        return None
    return found.int >> 80 if found.version == 7 else None
