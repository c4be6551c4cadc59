"""The name and the tags of a task's browser."""

from types import SimpleNamespace

import pytest
import uuid6

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.resources.browsers.options import check_browser_name, check_tags
from airflow_provider_kernel.lifecycle.resource import StartMark
from airflow_provider_kernel.owned.browser_mark import BrowserMark, join_tags, read_start_mark, tag_value

ODD = [
    "scheduled__2026-01-01T00:00:00+00:00",
    "a,b",
    'with "quotes"',
    "100%",
    "[1]",
    "Zoë",
    "x" * 257,
    "\ud83d",
    "",
]


def mark(**changes):
    plain = BrowserMark("https://airflow.example", "d", "r", "t", -1, 1, str(uuid6.uuid7()))
    return plain._replace(**changes)


def start(of):
    return StartMark(of.dag_id, of.run_id, of.task_id, of.map_index, of.try_number, "token")


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("part", ["owner", "dag_id", "run_id", "task_id"])
def test_tags_and_name_are_valid_whatever_airflow_calls_its_things(part, text):
    of = mark(**{part: text})
    assert check_tags("tags", of.tags(start(of)))
    assert check_browser_name("name", of.name)


def test_different_texts_have_different_tags():
    texts = [*ODD, "a,b ", tag_value("a,b"), "sha256:", "a;b"]
    assert len({tag_value(text) for text in texts}) == len(texts)


def test_name_is_another_one_for_each_task_instance_and_the_same_for_one():
    assert mark().name != mark().name
    of = mark()
    assert of.name == of._replace(try_number=2).name


def test_task_tags_are_the_same_for_all_tries_and_others_for_each_other_task_instance():
    of = mark()
    assert of.task_tags == mark(try_number=2).task_tags
    others = [mark(map_index=0), mark(run_id="r2"), mark(dag_id="d2"), mark(task_id="t2"), mark(owner="o2")]
    assert all(other.task_tags != of.task_tags for other in others)


def test_map_index_of_a_task_that_is_not_mapped_is_minus_one():
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=None, try_number=1, id="1")
    assert BrowserMark.of(ti, "o").task_tags["airflow_map"] == "-1"


def test_mark_is_read_from_tags_but_for_what_is_only_a_hash():
    of = mark(run_id="a,b", map_index=3)
    assert read_start_mark(of.tags(start(of))) == {"dag_id": "d", "task_id": "t", "map_index": 3}
    assert read_start_mark({"team": "prices"}) == {}


def test_later_try_is_told_by_the_time_in_its_id():
    first, second = mark(), mark()
    later = second._replace(ti_id=str(uuid6.UUID(int=uuid6.UUID(first.ti_id).int + (1 << 80))))
    assert first.is_older_than(later.tags(start(later)))
    assert not later.is_older_than(first.tags(start(first)))
    assert not first.is_older_than(first.tags(start(first)))
    assert not first.is_older_than({"airflow_ti": "no uuid"})


def test_tags_of_a_user_and_of_the_owner_go_together():
    of = mark()
    assert join_tags({"team": "prices"}, of.task_tags) == {"team": "prices", **of.task_tags}
    with pytest.raises(KernelInputError):
        join_tags({"airflow_dag": "another"}, of.task_tags)
    with pytest.raises(KernelInputError):
        join_tags({f"k{n}": "" for n in range(43)}, of.task_tags)
    assert len(join_tags({f"k{n}": "" for n in range(41)}, of.tags(start(of)))) == 49
