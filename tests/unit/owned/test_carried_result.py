from types import SimpleNamespace

import pytest
from airflow.sdk.bases.xcom import BaseXCom

from airflow_provider_kernel.client import Invocation
from airflow_provider_kernel.client.redaction import register_key
from airflow_provider_kernel.owned.carried_result import MAX_CARRIED_BYTES, carried_bytes, carry, read_carried

ENDED = {
    "id": "i",
    "status": "succeeded",
    "app_name": "shop",
    "action_name": "price",
    "version": "1.0",
    "started_at": "2026-01-01T00:00:00.123456789Z",
    "finished_at": "2026-01-01T00:00:01Z",
    "output": '{"price": 7}',
}


def ended(**changes):
    return Invocation.model_validate({**ENDED, **changes})


@pytest.mark.parametrize("changes", [{}, {"output": None}, {"status_reason": "done"}, {"output": "é" * 100}])
def test_event_carries_all_of_a_result_but_the_payload(changes):
    carried = carry(ended(payload='{"secret": 1}', **changes), max_bytes=1000)
    result = read_carried({"invocation_id": "i", "invocation": carried})
    assert vars(result) == ended(**changes).model_dump(exclude={"payload"})
    assert (result.is_final, result.seconds) == (True, ended().seconds)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "running", "finished_at": None},
        {"status": "failed", "status_reason": "no such page"},
        {"output": '{"header": "Bearer sk-carried-key"}'},
        {"output": "x" * 1001},
        {"output": "é" * 501},
        {"output": "\0"},
        {"status_reason": "half a \ud800 pair"},
    ],
    ids=["not ended", "failed", "with a key", "too large", "too large in UTF-8", "NUL", "half a surrogate pair"],
)
def test_event_does_not_carry_what_is_large_or_a_database_may_refuse(changes):
    register_key("sk-carried-key")
    invocation = ended().model_copy(update=changes)  # as it may come past the checks of an answer
    assert carry(invocation, max_bytes=1000) is None


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"invocation_id": "i"},
        {"invocation_id": "i", "invocation": None},
        {"invocation_id": "i", "invocation": "text"},
        {"invocation_id": "i", "invocation": {"id": "i"}},
        {"invocation_id": "i", "invocation": {**ENDED, "output": 7.5, "status": ["succeeded"]}},
        {"invocation_id": "i", "invocation": {**ENDED, "status": "running"}},
        {"invocation_id": "i", "invocation": {**ENDED, "status": "failed"}},
        {"invocation_id": "other", "invocation": ENDED},
        {"invocation": {"status": "succeeded"}},
    ],
)
def test_event_of_another_version_or_of_another_invocation_carries_nothing(event):
    assert read_carried(event) is None


def test_event_carries_no_result_that_does_not_go_into_the_database_anyway(monkeypatch):
    task = SimpleNamespace(do_xcom_push=True, max_output_bytes=1_000_000)
    assert carried_bytes(task) == MAX_CARRIED_BYTES
    assert carried_bytes(SimpleNamespace(do_xcom_push=True, max_output_bytes=10)) == 10
    assert carried_bytes(SimpleNamespace(do_xcom_push=False, max_output_bytes=10)) == 0
    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", type("Backend", (BaseXCom,), {}))
    assert carried_bytes(task) == 0
