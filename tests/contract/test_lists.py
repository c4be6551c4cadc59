"""What reads lists reads all of them: large rows, rows that cannot be read, and lists without an end."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from contract.wire import Server, ok

from airflow_provider_kernel.client import errors, flow
from airflow_provider_kernel.client.http import response_body
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.bulk_status import poll_list
from airflow_provider_kernel.client.resources.invocations.completions import CompletionPoller
from airflow_provider_kernel.client.resources.invocations.find_started import StartCriteria, find_started
from airflow_provider_kernel.testing import Fault

BOUND = 20_000
#: Most of a page's rows do not fit into one answer.
LARGE = "x" * 3000


def now():
    return datetime.now(timezone.utc)


def search(client):
    """Search for an invocation as after a lost answer."""
    criteria = StartCriteria.by(requests.create_invocation("demo", "hang", payload={"wanted": LARGE}))
    return client.run(find_started(criteria, since=now() - timedelta(minutes=1), now=now(), patience=0.0))


def watch(client):
    """Read the list as an asset watcher does."""
    seen = []
    client.run(CompletionPoller().poll(now(), on_row=seen.append))
    return seen


def walk(client):
    """Read the list as the hook does."""
    return client.pages(requests.list_invocations())


def sweep(client):
    """Read the list as the sweep does."""
    return client.pages(requests.list_invocations(status="running"), snapshot=True)


@pytest.fixture
def bound(monkeypatch):
    monkeypatch.setattr(response_body, "MAX_RESPONSE_BYTES", BOUND)
    monkeypatch.setattr(flow, "MAX_RESPONSE_BYTES", BOUND)


@pytest.fixture
def started(client, kernel_emulator, bound):
    """The ids of 20 invocations with large payloads, the first of which is searched."""
    ids = []
    for number in range(20):
        payload = {"wanted": LARGE} if not number else {"other": LARGE}
        ids.append(client.send(requests.create_invocation("demo", "hang", payload=payload)).id)
        kernel_emulator.wait_for_status(ids[-1], "running")
    return ids


def test_lists_of_large_rows_are_read_by_all_that_read_lists(client, started):
    assert [found.id for found in search(client)] == started[:1]
    for read in (watch, walk, sweep):
        assert sorted(row.id for row in read(client)) == sorted(started)
    missing = set(started)
    assert client.run(poll_list(dict.fromkeys(started), missing, lambda invocation: None))
    assert missing == set()


def test_row_that_is_too_large_hides_no_other_and_leaves_a_lost_start_unknown(client, started, kernel_emulator):
    giant = client.send(
        requests.create_invocation("demo", "hang", payload={"wanted": "x" * 2 * BOUND}, version="latest")
    )
    kernel_emulator.wait_for_status(giant.id, "running")
    for read in (watch, walk, sweep):
        assert sorted(row.id for row in read(client)) == sorted(started)
    with pytest.raises(errors.KernelAmbiguousStartError, match="cannot be read"):
        search(client)


@pytest.mark.parametrize("read", [watch, walk, sweep])
def test_row_without_id_hides_no_other(client, kernel_emulator, read):
    rows = [{"id": "a", "status": "running"}, {"status": "running"}, {"id": "b", "status": "running"}]
    kernel_emulator.add_fault(Fault("GET", "/invocations", None, status=200, body=rows))
    assert [row.id for row in read(client)] == ["a", "b"]


@pytest.mark.parametrize("read", [search, watch, walk, sweep])
def test_list_that_always_has_more_is_given_up(connect, monkeypatch, read):
    monkeypatch.setattr(flow, "MAX_LIST_PAGES", 15)
    monkeypatch.setattr(flow, "MAX_WALKED_PAGES", 15)

    def answer(server, client, number):
        rows = [{"id": f"i{number}-{row}", "status": "succeeded"} for row in range(100)]
        headers = f"X-Has-More: true\r\nX-Next-Offset: {number * 100}\r\n"
        client.sendall(ok(json.dumps(rows).encode()).replace(b"\r\n\r\n", f"\r\n{headers}\r\n".encode(), 1))
        return True

    with Server(answer) as server:
        with pytest.raises(errors.KernelResponseError, match="the list does not end after 15 pages"):
            read(connect(server))
        assert len(server.requests) == 15
