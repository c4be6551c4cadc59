"""The notifier ends an invocation when a DAG run is over; it is called by Airflow's own DAG processor code."""

from datetime import datetime, timezone
from types import MappingProxyType, SimpleNamespace

import pytest
from airflow.sdk import DAG, literal, task
from airflow.sdk.execution_time import comms, task_runner
from support.dag_runs import end_run

from airflow_provider_kernel.callbacks import complete_kernel_invocation, fail_kernel_invocation
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.testing import Fault

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Supervisor:
    """Stands in for the supervisor of the DAG processor."""

    def __init__(self):
        self.xcoms = {}
        self.states = {}

    def send(self, msg):
        if isinstance(msg, comms.GetXComSequenceSlice):
            assert (msg.dag_id, msg.run_id, msg.key) == ("d", "r", "return_value")
            return comms.XComSequenceSliceResult(root=self.xcoms.get(msg.task_id, []))
        if isinstance(msg, comms.GetXCom):
            (value,) = self.xcoms.get(msg.task_id, [None])
            return comms.XComResult(key=msg.key, value=value)
        assert isinstance(msg, comms.GetTaskStates), msg
        assert (msg.dag_id, msg.run_ids) == ("d", ["r"])
        wanted = {k: v for k, v in self.states.items() if not msg.task_ids or k in msg.task_ids}
        return comms.TaskStatesResult(task_states={"r": wanted} if wanted else {})


@pytest.fixture(autouse=True)
def _log_at_info(caplog):
    caplog.set_level("INFO")


@pytest.fixture
def supervisor(monkeypatch):
    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


@pytest.fixture
def start(kernel_emulator, kernel_connection):
    kernel_emulator.register("demo", "ask", lambda ctx: ctx.create_browser() and ctx.wait())

    def start():
        with KernelHook() as hook:
            invocation_id = hook.invoke("demo", "ask").id
        kernel_emulator.wait_until(lambda: kernel_emulator.invocation(invocation_id).browsers == 1)
        return invocation_id

    return start


@pytest.fixture
def waiting(start):
    return start()


@pytest.fixture
def read_invocation(kernel_emulator, waiting):
    return lambda: kernel_emulator.invocation(waiting)


def make_dag(**callbacks):
    with DAG("d", schedule=None, start_date=NOW, **callbacks) as dag:

        @task
        def summarize():
            """Return something."""

        @task
        def visit(page):
            """Return something, several times."""

        @task
        def visit_1():
            """Have the name of a mapped task instance."""

        summarize()
        visit.expand(page=[1, 2, 3])
        visit_1()
    return dag


@pytest.fixture
def end(supervisor, waiting):
    """End a run of a DAG with these callbacks."""

    def end(outcome, *, conf=None, last_ti=True, reason=None, run_id="r", **callbacks):
        conf = {"kernel_invocation_id": waiting} if conf is None else conf
        end_run(make_dag(**callbacks), outcome, conf, last_ti=last_ti, reason=reason, run_id=run_id)

    return end


def both(**arguments):
    notifier = KernelInvocationNotifier(**arguments)
    return {"on_success_callback": notifier, "on_failure_callback": notifier}


class TestSuccess:
    def test_notifier_sends_the_return_value_of_a_task(self, end, supervisor, read_invocation):
        supervisor.xcoms["summarize"] = [{"orders": 42}]
        end("success", on_success_callback=complete_kernel_invocation(output_from="summarize"))
        assert read_invocation().status == "succeeded"
        assert read_invocation().output_json == {"orders": 42}

    def test_notifier_sends_the_list_of_all_return_values_of_a_mapped_task(self, end, supervisor, read_invocation):
        supervisor.xcoms["visit"] = ["a", "b", "c"]
        end("success", on_success_callback=complete_kernel_invocation(output_from="visit"))
        assert read_invocation().output_json == ["a", "b", "c"]

    def test_notifier_sends_null_for_a_task_that_returned_nothing(self, end, supervisor, read_invocation):
        supervisor.states["summarize"] = "success"
        end("success", on_success_callback=complete_kernel_invocation(output_from="summarize"))
        assert (read_invocation().status, read_invocation().output) == ("succeeded", "null")

    def test_notifier_fails_the_invocation_when_the_output_task_was_skipped(self, end, supervisor, read_invocation):
        supervisor.states["summarize"] = "skipped"
        end("success", on_success_callback=complete_kernel_invocation(output_from="summarize"))
        assert read_invocation().output_json == {"error": "task 'summarize' is skipped, so that there is no output"}

    def test_notifier_fails_the_invocation_when_the_output_task_does_not_exist(self, end, read_invocation):
        end("success", on_success_callback=complete_kernel_invocation(output_from="sumarize"))
        assert read_invocation().output_json == {
            "error": "output_from is 'sumarize'; there is no such task in DAG d"
        }

    def test_notifier_renders_a_templated_output(self, end, supervisor, read_invocation):
        supervisor.xcoms["summarize"] = ["Lisbon"]
        output = {"run": "{{ run_id }}", "city": "{{ ti.xcom_pull(task_ids='summarize') }}"}
        end("success", on_success_callback=complete_kernel_invocation(output))
        assert read_invocation().output_json == {"run": "r", "city": "Lisbon"}

    def test_notifier_in_a_dag_that_renders_natively_sends_native_output(self, end, read_invocation):
        output = MappingProxyType({"pages": range(2), "orders": "x"})
        callback = complete_kernel_invocation({"pages": "{{ [1, 2] }}", "fixed": output})
        end("success", render_template_as_native_obj=True, on_success_callback=callback)
        assert read_invocation().output_json == {"pages": [1, 2], "fixed": {"pages": [0, 1], "orders": "x"}}

    def test_reason_is_text_in_a_dag_that_renders_natively(self, end, read_invocation):
        end("failed", render_template_as_native_obj=True, **both(reason="404"))
        assert read_invocation().output_json == {"error": "404"}

    def test_notifier_sends_an_empty_string_for_a_template_that_renders_to_nothing(self, end, read_invocation):
        end("success", on_success_callback=complete_kernel_invocation("{{ dag_run.conf.get('city', '') }}"))
        assert read_invocation().output_json == ""

    def test_notifier_sends_no_output_without_one(self, end, read_invocation):
        end("success", on_success_callback=complete_kernel_invocation())
        assert (read_invocation().status, read_invocation().output) == ("succeeded", None)

    @pytest.mark.parametrize(
        ("output", "words"),
        [("x" * 101, "max_output_bytes allows 100"), (literal({1j}), "cannot be written as JSON")],
    )
    def test_notifier_fails_the_invocation_when_the_output_cannot_be_sent(
        self, output, words, end, read_invocation
    ):
        end("success", on_success_callback=complete_kernel_invocation(output, max_output_bytes=100))
        assert read_invocation().status == "failed"
        assert words in read_invocation().output_json["error"]

    def test_notifier_fails_the_invocation_when_kernel_refuses_the_output(
        self, end, read_invocation, kernel_emulator
    ):
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", status=400))
        end("success", on_success_callback=complete_kernel_invocation("x"))
        assert read_invocation().status == "failed"
        assert "KernelBadRequestError" in read_invocation().output_json["error"]


class TestFailure:
    def test_notifier_reason_names_the_failed_tasks(self, end, supervisor, read_invocation):
        supervisor.states = {
            "summarize": "failed",
            "visit_0": "success",
            "visit_1": "failed",
            "visit_2": "failed",
        }
        end("failed", on_failure_callback=fail_kernel_invocation())
        assert read_invocation().status == "failed"
        assert read_invocation().output_json == {
            # visit_1 may also be the task of that name.
            "error": "The Airflow DAG run failed; failed: summarize, visit[2], visit_1"
        }
        assert read_invocation().browsers == 0

    def test_notifier_reason_counts_failed_tasks_beyond_ten(self, end, supervisor, read_invocation):
        supervisor.states = {f"visit_{number}": "failed" for number in range(2, 30)}
        end("failed", on_failure_callback=fail_kernel_invocation())
        assert read_invocation().output_json["error"].endswith("visit[19] and 18 more")

    @pytest.mark.parametrize("reason", ["timed_out", "all_tasks_deadlocked"])
    def test_notifier_reason_of_a_run_that_failed_without_a_failed_task(self, reason, end, read_invocation):
        end("failed", reason=reason, on_failure_callback=fail_kernel_invocation())
        assert read_invocation().output_json == {"error": f"The Airflow DAG run failed ({reason})"}

    def test_notifier_renders_a_custom_reason(self, end, read_invocation):
        end("failed", on_failure_callback=fail_kernel_invocation("Run {{ run_id }} has no result"))
        assert read_invocation().output_json == {"error": "Run r has no result"}


class TestAirflowUnreachable:
    """In ``dag.test()`` there is no supervisor, and the DAG is the serialized one."""

    @pytest.fixture(autouse=True)
    def _no_supervisor(self, supervisor, monkeypatch):
        monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS")

    def test_notifier_fails_the_invocation_when_the_output_cannot_be_read(self, end, read_invocation):
        end("success", on_success_callback=complete_kernel_invocation(output_from="summarize"))
        assert read_invocation().output_json == {"error": "The output could not be read from Airflow"}

    def test_notifier_reason_has_no_task_names_when_states_cannot_be_read(self, end, read_invocation):
        end("failed", on_failure_callback=fail_kernel_invocation())
        assert read_invocation().output_json == {"error": "The Airflow DAG run failed"}

    def test_notifier_renders_templates_for_a_serialized_dag(self, waiting, read_invocation):
        dag = SimpleNamespace(dag_id="d", task_ids=[], render_template_as_native_obj=False)
        context = {"dag": dag, "run_id": "r", "dag_run": SimpleNamespace(conf={"kernel_invocation_id": waiting})}
        complete_kernel_invocation("{{ run_id }}")(context)
        assert read_invocation().output_json == "r"


class TestStatusOfTheRun:
    @pytest.mark.parametrize(("outcome", "status"), [("success", "succeeded"), ("failed", "failed")])
    def test_notifier_ends_the_invocation_with_the_status_of_the_run(
        self, outcome, status, end, supervisor, read_invocation
    ):
        supervisor.xcoms["summarize"] = ["x"]
        supervisor.states["summarize"] = outcome
        end(outcome, **both(output_from="summarize"))
        assert read_invocation().status == status

    def test_one_notifier_serves_several_runs(self, end, start, kernel_emulator):
        """The DAG processor calls it for several runs in one process."""
        callbacks = both(output="{{ dag_run.conf['kernel_invocation_id'] }}")
        started = [start() for _ in range(3)]
        for invocation_id in started:
            end("success", conf={"kernel_invocation_id": invocation_id}, **callbacks)
        assert [kernel_emulator.invocation(i).output_json for i in started] == started


class TestNothingToDo:
    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    @pytest.mark.parametrize("outcome", ["success", "failed"])
    def test_notifier_leaves_a_finished_invocation_unchanged(
        self, status, outcome, end, waiting, read_invocation, kernel_emulator, caplog
    ):
        kernel_emulator.switches.patch_on_finished = "overwrite"
        kernel_emulator.finish(waiting, status, "theirs")
        end(outcome, **both(output="mine"))
        assert read_invocation().output_json == "theirs"
        assert kernel_emulator.requests("PATCH") == ()
        assert kernel_emulator.requests("DELETE") == ()
        assert f"had already ended as {status}" in caplog.text

    @pytest.mark.parametrize("conf", [{}, {"kernel_invocation_id": None}, {"other": 1}])
    def test_notifier_sends_nothing_for_a_run_without_an_invocation(self, conf, end, kernel_emulator, caplog):
        before = len(kernel_emulator.journal)
        end("success", conf=conf, **both(output="x"))
        assert len(kernel_emulator.journal) == before
        assert "no invocation waits for it" in caplog.text

    def test_notifier_logs_an_error_when_all_tasks_were_skipped(self, end, read_invocation, caplog):
        """If every task was skipped, Airflow has no task instance to build a context from."""
        end("success", last_ti=False, **both(output="x"))
        assert read_invocation().status == "running"
        assert "No task of DAG run r has run, so Airflow passes no conf" in caplog.text

    def test_notifier_takes_the_invocation_id_from_the_run_id_when_all_tasks_were_skipped(
        self, end, waiting, read_invocation
    ):
        end("success", last_ti=False, run_id=f"kernel__{waiting}", **both(output="x"))
        assert read_invocation().output_json == "x"

    def test_notifier_ends_an_explicit_invocation_when_all_tasks_were_skipped(self, end, waiting, read_invocation):
        end("success", last_ti=False, **both(output="x", invocation_id=waiting))
        assert read_invocation().output_json == "x"
        assert read_invocation().status == "succeeded"


def test_notifier_resends_an_update_whose_answer_was_lost(end, read_invocation, kernel_emulator):
    kernel_emulator.switches.patch_on_finished = 400
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", drop="after"))
    end("success", **both(output="x"))
    assert read_invocation().output_json == "x"


async def test_notifier_completes_in_an_event_loop(waiting, read_invocation):
    notifier = KernelInvocationNotifier(status="succeeded", output={"a": 1}, invocation_id=waiting)
    await notifier
    assert read_invocation().output_json == {"a": 1}


async def test_notifier_fails_in_an_event_loop(waiting, read_invocation):
    await fail_kernel_invocation("Too late", invocation_id=waiting)
    assert read_invocation().output_json == {"error": "Too late"}
    assert read_invocation().browsers == 0


@pytest.mark.parametrize("arguments", [{"status": "done"}, {"output": 1, "output_from": "x"}])
def test_notifier_refuses_contradictory_arguments(arguments):
    with pytest.raises(KernelInputError):
        KernelInvocationNotifier(**arguments)
