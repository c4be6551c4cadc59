"""One operator object that is executed more than once, and copies of one that was: no run sees another one."""

import copy
import json
import os
import pickle
import signal
import threading

import pytest
from airflow.sdk import BaseOperator, task as task_decorators

from airflow_provider_kernel.client.errors import KernelTaskKilledError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle import inline
from airflow_provider_kernel.links.kernel import DASHBOARD
from airflow_provider_kernel.operators._run import Run
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelInvokeOperator,
)
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor

ECHO = {"app_name": "demo", "action_name": "echo", "payload": 1, "poll_interval": 0.01, "stream_logs": False}
HANG = {**ECHO, "action_name": "hang"}


def return_one():
    return 1


def return_the_number_of_the_try(ti):
    return ti.try_number


@pytest.fixture(autouse=True)
def airflow_runs_the_object_itself(monkeypatch):
    """Airflow executes a copy of the task; tests and runners of one's own execute the object."""
    monkeypatch.setattr(BaseOperator, "prepare_for_execution", lambda task: task)


@pytest.fixture
def start(kernel_connection):
    def start():
        with KernelHook() as hook:
            return hook.invoke("demo", "hang").id

    return start


@pytest.fixture
def first_run(make_task, start, kernel_emulator):
    """Make the first run of a task with each operator."""

    def first_run(kind):
        if kind == "invoke":
            return make_task(KernelInvokeOperator, **ECHO)
        if kind == "respond":
            return make_task(KernelInvocationTaskOperator, python_callable=return_one, invocation_id=start())
        if kind == "cancel":
            return make_task(KernelCancelInvocationOperator, invocation_id=start(), if_finished="ignore")
        if kind == "orphans":
            return make_task(KernelCancelOrphansOperator, app_name="demo")
        invocation_id = start()
        kernel_emulator.finish(invocation_id, output=1)
        return make_task(KernelInvocationSensor, invocation_id=invocation_id)

    return first_run


@pytest.mark.parametrize("kind", ["invoke", "respond", "cancel", "sensor"])
def test_each_run_writes_the_link(kind, first_run, execution_api, start, kernel_emulator, monkeypatch):
    extra = {"dashboard_url": "https://d.example/{app_name}"}
    connection = {**json.loads(kernel_emulator.airflow_connection), "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))
    first = first_run(kind)
    assert first.run().state == "success"
    link = execution_api.xcoms[DASHBOARD.xcom_key]
    second = first.next_try()
    if kind == "respond":
        second.task.invocation_id = start()
    assert second.run().state == "success"
    assert execution_api.xcoms[DASHBOARD.xcom_key] == link != ""


@pytest.mark.parametrize("kind", ["invoke", "respond"])
def test_kill_after_the_end_of_a_run_does_not_reach_the_next_one(kind, first_run, start):
    first = first_run(kind)
    first.run()
    first.task.on_kill()
    second = first.next_try()
    if kind == "respond":
        second.task.invocation_id = start()
    assert second.run().state == "success"


@pytest.mark.parametrize("kind", ["invoke", "respond"])
def test_kill_before_execute_kills_the_run_that_comes(kind, first_run, kernel_emulator):
    first = first_run(kind)
    started = kernel_emulator.requests("POST")
    first.task.on_kill()
    assert isinstance(first.run().error, KernelTaskKilledError)
    assert kernel_emulator.requests("POST") == started


def test_each_run_reads_the_connection_anew(first_run, monkeypatch):
    first = first_run("invoke")
    first.run()
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", '{"conn_type": "kernel"}')
    assert "There is no API key" in str(first.next_try().run().error)


def test_function_of_the_second_run_gets_the_context_of_the_second_run(make_task, start, kernel_emulator):
    first = make_task(
        KernelInvocationTaskOperator, python_callable=return_the_number_of_the_try, invocation_id=start()
    )
    first.run()
    second = first.next_try()
    second.task.invocation_id = invocation_id = start()
    assert second.run().state == "success"
    assert kernel_emulator.invocation(invocation_id).output_json == 2


class TestDeferral:
    @pytest.fixture
    def deferred(self, make_task, monkeypatch):
        monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.02)
        deferred = make_task(KernelInvokeOperator, deferrable=True, **HANG)
        assert deferred.run().state == "deferred"
        return deferred

    @pytest.fixture(autouse=True)
    def no_signal_is_left(self, monkeypatch):
        monkeypatch.setattr(inline, "_signalled", set())

    def test_kill_while_the_task_is_deferred_kills_what_resumes(self, deferred, kernel_emulator):
        deferred.task.on_kill()
        kernel_emulator.finish(kernel_emulator.invocations[0].id, output=1)
        event = {"invocation_id": kernel_emulator.invocations[0].id, "status": "finished"}
        assert isinstance(deferred.resume("execute_complete", event=event).error, KernelTaskKilledError)

    def test_kill_while_the_task_is_deferred_does_not_reach_its_next_try(self, deferred):
        deferred.task.on_kill()
        assert deferred.next_try(cleared=True).run().state == "deferred"

    def test_signal_for_an_earlier_trigger_does_not_stop_the_next_one_of_an_invocation(self):
        inline.stop_on_signal("i")()
        inline.stop_on_signal("i")
        assert not inline._signalled


def test_forked_child_that_gets_a_signal_kills_nothing(monkeypatch):
    killed = []
    run = Run(has_begun=True)
    run.on_kill(lambda: killed.append(True))
    monkeypatch.setattr(os, "getpid", lambda: 0)
    run.kill()
    assert not killed
    assert not run.killed


class TestForkedChildOfTheFunction:
    @pytest.fixture
    def result(self, make_task, start, kernel_emulator):
        """Run a task whose function does something in a forked child, and returns the child's exit code."""

        class EndsItsChildren(KernelInvocationTaskOperator):
            def execute(self, context):
                parent = os.getpid()
                try:
                    return super().execute(context)
                finally:
                    if os.getpid() != parent:
                        os._exit(0)

        def result(in_child):
            def function(kernel_invocation):
                pid = os.fork()
                if pid == 0:
                    signal.signal(signal.SIGALRM, signal.SIG_DFL)
                    signal.alarm(20)
                    return in_child(kernel_invocation)
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

            invocation_id = start()
            make_task(EndsItsChildren, python_callable=function, invocation_id=invocation_id).run()
            return kernel_emulator.invocation(invocation_id).output_json

        return result

    def test_check_works_there(self, result, kernel_emulator):
        def check(kernel_invocation):
            kernel_invocation.check()
            os._exit(7)

        assert result(check) == 7

    @pytest.mark.parametrize("how", ["returns", "raises"])
    def test_its_end_does_not_end_the_invocation(self, how, result, kernel_emulator):
        def end(kernel_invocation):
            if how == "raises":
                raise SystemExit
            return "of the child"

        assert result(end) == 0
        assert len(kernel_emulator.requests("PATCH")) == 1


class TestCopies:
    @pytest.fixture(params=["invoke", "respond", "cancel", "sensor", "orphans"])
    def used(self, request, first_run):
        """A task that was executed, killed afterwards, and whose hook is open."""
        first = first_run(request.param)
        assert first.run().state == "success"
        first.task.hook.get_conn()
        first.task.on_kill()
        yield first
        first.task.hook.close()

    def test_pickle_of_a_used_operator_holds_no_key(self, used, kernel_emulator):
        pickled = pickle.dumps(used.task)
        assert kernel_emulator.api_key.encode() not in pickled
        assert pickle.loads(pickled).task_id == "t"  # noqa: S301 (our own bytes)

    @pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
    def test_copy_of_a_used_operator_has_not_run(self, make, used, first_run, start):
        copied = make(used.task)
        assert copied.hook is not used.task.hook
        assert copied.dashboard is None
        if isinstance(copied, KernelInvocationTaskOperator):
            copied.invocation_id = start()
        used.task = copied
        assert used.next_try().run().state == "success"


class TestCopiesDuringTheRun:
    @pytest.fixture
    def in_function(self, make_task, start):
        """Let a task's function do something with its task and its invocation, and give what came of it."""

        def in_function(act):
            came_of_it = []

            def function(kernel_invocation):
                came_of_it.append(act(kernel_invocation, ran.task))

            operator = task_decorators.kernel_invocation(invocation_id="i")(function).operator_class
            ran = make_task(operator, python_callable=function, invocation_id=start())
            assert ran.run().state == "success"
            return came_of_it[0]

        return in_function

    @pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
    def test_copy_of_the_task_has_not_begun(self, make, in_function):
        assert in_function(lambda invocation, task: make(task)).dashboard is None

    @pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
    def test_copy_of_the_waiting_invocation_is_usable(self, make, in_function):
        def use_copy(invocation, task):
            copied = make({"nested": invocation} if make is copy.deepcopy else invocation)
            (copied["nested"] if isinstance(copied, dict) else copied).check()
            return True

        assert in_function(use_copy)

    def test_waiting_invocation_says_that_it_cannot_be_pickled(self, in_function):
        def refused(invocation, task):
            with pytest.raises(TypeError, match="Pass its id on"):
                pickle.dumps(invocation)
            return True

        assert in_function(refused)


class TestTwoThreads:
    def test_end_of_one_run_leaves_the_client_of_the_other_open(self, make_task, kernel_emulator):
        """Each waits until both have begun, so that one ends while the other still uses its client."""
        task = make_task(KernelCancelOrphansOperator, app_name="demo").task
        begun = threading.Barrier(2)
        hooks = []

        def run():
            task._begin_run()
            begun.wait(10)
            hooks.append(task.hook)

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert hooks[0] is not hooks[1]

    def test_kill_reaches_the_runs_of_all_threads(self, make_task):
        task = make_task(KernelInvokeOperator, **HANG).task
        killed = []

        def begin():
            task._begin_run()
            name = threading.current_thread().name
            task._run.on_kill(lambda: killed.append(name))
            begun.wait(10)  # else the second thread may get the identity of the first

        begun = threading.Barrier(2)
        threads = [threading.Thread(target=begin) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        task.on_kill()
        assert len(set(killed)) == 2


def test_function_of_a_decorated_task_leaves_nothing_of_its_run_in_the_operator(make_task, start, kernel_emulator):
    def function(kernel_invocation):
        return kernel_invocation.id

    invocation_id = start()
    operator = task_decorators.kernel_invocation(invocation_id=invocation_id)(function).operator_class
    first = make_task(operator, python_callable=function, invocation_id=invocation_id)
    assert first.run().state == "success"
    assert kernel_emulator.invocation(invocation_id).output_json == invocation_id
    assert first.task.op_kwargs == {"kernel_invocation": None}
