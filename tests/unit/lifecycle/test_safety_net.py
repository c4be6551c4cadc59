"""The safety net, for kinds of objects that it does not know by name."""

from datetime import datetime, timezone

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetXComSequenceSlice, XComSequenceSliceResult

from airflow_provider_kernel import owned
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.safety_net import end_owned_by_run
from airflow_provider_kernel.owned.invocation import EndableInvocation


class EndableErrand(EndableInvocation):
    """Another kind of object, which happens to be an invocation."""

    kind = "errand"


class ErrandOperator(BaseOperator):
    owned_kind = "errand"

    def __init__(self, *, cancel_on_kill=True, kernel_conn_id="kernel_default", **kwargs):
        super().__init__(**kwargs)
        self.cancel_on_kill = cancel_on_kill
        self.kernel_conn_id = kernel_conn_id


class XComs:
    """The supervisor of the DAG processor: task id to ids, all under the key of errands; ``None`` for no answer."""

    def __init__(self, ids):
        self.ids = ids

    def send(self, msg):
        assert isinstance(msg, GetXComSequenceSlice)
        if self.ids.get(msg.task_id) is None:
            raise ConnectionError("the API server does not answer")
        return XComSequenceSliceResult(root=self.ids.get(msg.task_id, []) if msg.key == "errand_id" else [])


@pytest.fixture
def start(kernel_emulator, kernel_connection):
    def start():
        with KernelHook() as hook:
            return hook.invoke("demo", "hang").id

    return start


@pytest.fixture
def run_failed(monkeypatch):
    def run_failed(ids, kinds, **arguments):
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
            for task_id in ids:
                ErrandOperator(task_id=task_id, **arguments)
            BaseOperator(task_id="owns_nothing")
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", XComs(ids), raising=False)
        end_owned_by_run({"dag": dag, "run_id": "r"}, kinds)

    return run_failed


def test_safety_net_ends_objects_of_every_registered_kind(start, run_failed, kernel_emulator):
    run_failed({"one": [start(), start()], "two": [start()]}, {"errand": EndableErrand(), **owned.kinds()})
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["failed"] * 3


def test_safety_net_leaves_objects_of_an_unregistered_kind(start, run_failed, kernel_emulator):
    run_failed({"one": [start()]}, owned.kinds())
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["running"]


def test_safety_net_leaves_objects_that_the_task_does_not_own(start, run_failed, kernel_emulator):
    run_failed({"one": [start()]}, {"errand": EndableErrand()}, cancel_on_kill=False)
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["running"]


def test_safety_net_goes_on_when_the_connection_of_a_task_does_not_exist(start, run_failed, caplog):
    external_id = start()
    run_failed({"one": [external_id]}, {"errand": EndableErrand()}, kernel_conn_id="gone")
    assert f"Errand {external_id} could not be cancelled: There is no Airflow connection 'gone'" in caplog.text


def test_safety_net_goes_on_when_the_ids_of_a_task_cannot_be_read(start, run_failed, kernel_emulator, caplog):
    run_failed({"one": None, "two": [start()]}, {"errand": EndableErrand()})
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["failed"]
    assert "What task one owns cannot be read from XCom: the API server does not answer" in caplog.text
