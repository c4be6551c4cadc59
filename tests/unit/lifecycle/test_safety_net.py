"""The safety net, for kinds of objects that it does not know by name."""

import multiprocessing
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import BaseOperator
from support.dag_callbacks import TIMEOUT, XComs, answer_from, leave_seconds, new_dag, ownership

from airflow_provider_kernel import owned
from airflow_provider_kernel.client.timestamps import utc_now
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.safety_net import end_owned_by_run, seconds_left
from airflow_provider_kernel.owned.invocation import EndableInvocation


class EndableErrand(EndableInvocation):
    """Another kind of object, which happens to be an invocation."""

    kind = "errand"


class ErrandOperator(BaseOperator):
    owned_kind = "errand"


@pytest.fixture
def start(kernel_emulator, kernel_connection):
    def start():
        with KernelHook() as hook:
            return hook.invoke("demo", "hang").id

    return start


@pytest.fixture
def run_failed(monkeypatch):
    leave_seconds(monkeypatch, 5)

    def run_failed(records, kinds):
        with new_dag() as dag:
            for task_id in records:
                ErrandOperator(task_id=task_id)
            BaseOperator(task_id="owns_nothing")
        answer_from(monkeypatch, XComs(records, "errand"))
        end_owned_by_run({"dag": dag, "run_id": "r", "reason": "task_failure"}, kinds)

    return run_failed


def test_safety_net_ends_objects_of_every_registered_kind(start, run_failed, kernel_emulator):
    records = {"one": [ownership(start()), ownership(start())], "two": [ownership(start())]}
    run_failed(records, {"errand": EndableErrand(), **owned.kinds(dag_id="d", run_id="r")})
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["failed"] * 3


def test_safety_net_leaves_objects_of_an_unregistered_kind(start, run_failed, kernel_emulator):
    run_failed({"one": [ownership(start())]}, owned.kinds(dag_id="d", run_id="r"))
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["running"]


def test_safety_net_names_the_kind_of_what_it_cannot_end(start, run_failed, caplog):
    external_id = start()
    run_failed({"one": [ownership(external_id, kernel_conn_id="gone")]}, {"errand": EndableErrand()})
    assert f"Errand {external_id} could not be ended: There is no Airflow connection 'gone'" in caplog.text


def test_time_of_the_safety_net_counts_from_the_start_of_its_process(monkeypatch):
    monkeypatch.setenv(TIMEOUT, "100")
    forking = multiprocessing.get_context("fork")
    ours, theirs = forking.Pipe()
    began = time.monotonic()
    process = forking.Process(target=lambda: theirs.send((seconds_left(), time.monotonic())))
    process.start()
    left, now = ours.recv()
    process.join()
    # The system tells the start of a process by the second.
    assert left == pytest.approx(90 - (now - began), abs=1.1)


@pytest.mark.parametrize(("overtime", "left"), [("20", 7.0), ("5", 0.0)])
def test_time_of_the_safety_net_counts_from_the_end_of_a_task_in_its_own_process(overtime, left, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__TASK_SUCCESS_OVERTIME", overtime)
    now = utc_now()
    ti = SimpleNamespace(start_date=now - timedelta(hours=1), end_date=now - timedelta(seconds=3))
    assert seconds_left(ti) == pytest.approx(left, abs=0.5)


@pytest.mark.parametrize(("timeout", "left"), [("0", 0.0), ("1", 0.0)])
def test_safety_net_has_no_time_when_airflow_grants_less_than_its_reserve(timeout, left, monkeypatch):
    monkeypatch.setenv(TIMEOUT, timeout)
    assert seconds_left() == left
