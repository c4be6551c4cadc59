"""What ends an invocation when a DAG run is over: called as Airflow's DAG processor calls a DAG's callbacks."""

import uuid
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
import structlog
from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun, TaskInstance
from airflow.callbacks.callback_requests import DagCallbackRequest, DagRunContext
from airflow.dag_processing.processor import _execute_dag_callbacks
from airflow.sdk import DAG, task
from airflow.sdk.execution_time import comms, task_runner

from airflow_provider_kernel.callbacks import complete_kernel_invocation, fail_kernel_invocation
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.testing import Fault

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Supervisor:
    """What the DAG processor's supervisor answers."""

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
def _all_that_is_logged(caplog):
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
def as_it_stands(kernel_emulator, waiting):
    return lambda: kernel_emulator.invocation(waiting)


def a_dag(**callbacks):
    with DAG("d", schedule=None, start_date=NOW, **callbacks) as dag:

        @task
        def summarize():
            """Return something."""

        @task
        def visit(page):
            """Return something, several times."""

        @task
        def visit_1():
            """Be called as the mapped ones are."""

        summarize()
        visit.expand(page=[1, 2, 3])
        visit_1()
    return dag


def end_run(dag, outcome, conf, *, reason=None, last_ti=True, run_id="r"):
    """Let a DAG run end as the scheduler and the DAG processor do."""
    fields = {
        "dag_id": "d",
        "run_id": run_id,
        "logical_date": NOW,
        "data_interval_start": NOW,
        "data_interval_end": NOW,
        "run_after": NOW,
        "start_date": NOW,
        "end_date": NOW,
        "clear_number": 0,
        "run_type": "manual",
        "state": outcome,
        "conf": conf,
        "consumed_asset_events": [],
        "partition_key": None,
    }
    # Each version of Airflow knows fields of its own, and takes no others.
    run = DagRun(**{name: value for name, value in fields.items() if name in DagRun.model_fields})
    ti = TaskInstance(
        id=uuid.uuid4(), task_id="summarize", dag_id="d", run_id=run_id, try_number=1, dag_version_id=uuid.uuid4()
    )
    request = DagCallbackRequest(
        filepath="d.py",
        dag_id="d",
        run_id=run_id,
        bundle_name="b",
        bundle_version=None,
        context_from_server=DagRunContext(dag_run=run, last_ti=ti if last_ti else None),
        is_failure_callback=outcome == "failed",
        msg=reason or {"success": "success", "failed": "task_failure"}[outcome],
    )
    _execute_dag_callbacks(SimpleNamespace(dags={"d": dag}), request, structlog.get_logger())


@pytest.fixture
def end(supervisor, waiting):
    """End a run of a DAG with these callbacks."""

    def end(outcome, *, conf=None, last_ti=True, reason=None, run_id="r", **callbacks):
        conf = {"kernel_invocation_id": waiting} if conf is None else conf
        end_run(a_dag(**callbacks), outcome, conf, last_ti=last_ti, reason=reason, run_id=run_id)

    return end


def both(**arguments):
    notifier = KernelInvocationNotifier(**arguments)
    return {"on_success_callback": notifier, "on_failure_callback": notifier}


class TestSuccess:
    def test_the_output_is_what_a_task_returned(self, end, supervisor, as_it_stands):
        supervisor.xcoms["summarize"] = [{"orders": 42}]
        end("success", on_success_callback=complete_kernel_invocation(output_from="summarize"))
        assert as_it_stands().status == "succeeded"
        assert as_it_stands().output_json == {"orders": 42}

    def test_of_a_mapped_task_it_is_the_list_of_all(self, end, supervisor, as_it_stands):
        supervisor.xcoms["visit"] = ["a", "b", "c"]
        end("success", on_success_callback=complete_kernel_invocation(output_from="visit"))
        assert as_it_stands().output_json == ["a", "b", "c"]

    def test_a_task_that_returned_nothing_gives_null(self, end, supervisor, as_it_stands):
        supervisor.states["summarize"] = "success"
        end("success", on_success_callback=complete_kernel_invocation(output_from="summarize"))
        assert (as_it_stands().status, as_it_stands().output) == ("succeeded", "null")

    def test_a_task_that_was_skipped_gives_a_failure(self, end, supervisor, as_it_stands):
        supervisor.states["summarize"] = "skipped"
        end("success", on_success_callback=complete_kernel_invocation(output_from="summarize"))
        assert as_it_stands().output_json == {"error": "task 'summarize' is skipped, so that there is no output"}

    def test_a_task_that_is_not_there_gives_a_failure(self, end, as_it_stands):
        end("success", on_success_callback=complete_kernel_invocation(output_from="sumarize"))
        assert as_it_stands().output_json == {"error": "output_from is 'sumarize'; there is no such task in DAG d"}

    def test_a_templated_output(self, end, supervisor, as_it_stands):
        supervisor.xcoms["summarize"] = ["Lisbon"]
        output = {"run": "{{ run_id }}", "city": "{{ ti.xcom_pull(task_ids='summarize') }}"}
        end("success", on_success_callback=complete_kernel_invocation(output))
        assert as_it_stands().output_json == {"run": "r", "city": "Lisbon"}

    def test_a_templated_output_that_renders_to_nothing(self, end, as_it_stands):
        end("success", on_success_callback=complete_kernel_invocation("{{ dag_run.conf.get('city', '') }}"))
        assert as_it_stands().output_json == ""

    def test_no_output(self, end, as_it_stands):
        end("success", on_success_callback=complete_kernel_invocation())
        assert (as_it_stands().status, as_it_stands().output) == ("succeeded", None)

    @pytest.mark.parametrize(
        ("output", "words"), [("x" * 101, "max_output_bytes allows 100"), ({1j}, "cannot be written as JSON")]
    )
    def test_an_output_that_cannot_be_sent_gives_a_failure(self, output, words, end, as_it_stands):
        end("success", on_success_callback=complete_kernel_invocation(output, max_output_bytes=100))
        assert as_it_stands().status == "failed"
        assert words in as_it_stands().output_json["error"]

    def test_an_output_that_kernel_refuses_gives_a_failure(self, end, as_it_stands, kernel_emulator):
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", status=400))
        end("success", on_success_callback=complete_kernel_invocation("x"))
        assert as_it_stands().status == "failed"
        assert "KernelBadRequestError" in as_it_stands().output_json["error"]


class TestFailure:
    def test_the_reason_names_the_tasks_that_failed(self, end, supervisor, as_it_stands):
        supervisor.states = {
            "summarize": "failed",
            "visit_0": "success",
            "visit_1": "failed",
            "visit_2": "failed",
        }
        end("failed", on_failure_callback=fail_kernel_invocation())
        assert as_it_stands().status == "failed"
        assert as_it_stands().output_json == {
            # visit_1 is a task of that name as well, and may be meant.
            "error": "The Airflow DAG run failed; failed: summarize, visit[2], visit_1"
        }
        assert as_it_stands().browsers == 0

    def test_many_of_them_are_counted(self, end, supervisor, as_it_stands):
        supervisor.states = {f"visit_{number}": "failed" for number in range(2, 30)}
        end("failed", on_failure_callback=fail_kernel_invocation())
        assert as_it_stands().output_json["error"].endswith("visit[19] and 18 more")

    @pytest.mark.parametrize("reason", ["timed_out", "all_tasks_deadlocked"])
    def test_a_run_may_fail_without_a_failed_task(self, reason, end, as_it_stands):
        end("failed", reason=reason, on_failure_callback=fail_kernel_invocation())
        assert as_it_stands().output_json == {"error": f"The Airflow DAG run failed ({reason})"}

    def test_a_reason_of_ones_own(self, end, as_it_stands):
        end("failed", on_failure_callback=fail_kernel_invocation("Run {{ run_id }} has no result"))
        assert as_it_stands().output_json == {"error": "Run r has no result"}


class TestWhenAirflowDoesNotTell:
    """In ``dag.test()`` there is nobody to ask, and the DAG is the one of the database."""

    @pytest.fixture(autouse=True)
    def _nobody_to_ask(self, supervisor, monkeypatch):
        monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS")

    def test_a_success_without_its_output_is_a_failure(self, end, as_it_stands):
        end("success", on_success_callback=complete_kernel_invocation(output_from="summarize"))
        assert as_it_stands().output_json == {"error": "The output could not be read from Airflow"}

    def test_a_failure_is_told_without_names(self, end, as_it_stands):
        end("failed", on_failure_callback=fail_kernel_invocation())
        assert as_it_stands().output_json == {"error": "The Airflow DAG run failed"}

    def test_a_dag_that_knows_no_templates(self, waiting, as_it_stands):
        dag = SimpleNamespace(dag_id="d", task_ids=[], render_template_as_native_obj=False)
        context = {"dag": dag, "run_id": "r", "dag_run": SimpleNamespace(conf={"kernel_invocation_id": waiting})}
        complete_kernel_invocation("{{ run_id }}")(context)
        assert as_it_stands().output_json == "r"


class TestOneForBoth:
    @pytest.mark.parametrize(("outcome", "status"), [("success", "succeeded"), ("failed", "failed")])
    def test_it_ends_as_the_run_does(self, outcome, status, end, supervisor, as_it_stands):
        supervisor.xcoms["summarize"] = ["x"]
        supervisor.states["summarize"] = outcome
        end(outcome, **both(output_from="summarize"))
        assert as_it_stands().status == status

    def test_one_object_serves_many_runs(self, end, start, kernel_emulator):
        """The DAG processor calls it for one run after the other, in one process."""
        callbacks = both(output="{{ dag_run.conf['kernel_invocation_id'] }}")
        started = [start() for _ in range(3)]
        for invocation_id in started:
            end("success", conf={"kernel_invocation_id": invocation_id}, **callbacks)
        assert [kernel_emulator.invocation(i).output_json for i in started] == started


class TestNothingToDo:
    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    @pytest.mark.parametrize("outcome", ["success", "failed"])
    def test_one_that_is_over_is_left_as_it_is(
        self, status, outcome, end, waiting, as_it_stands, kernel_emulator, caplog
    ):
        kernel_emulator.switches.patch_on_finished = "overwrite"
        kernel_emulator.finish(waiting, status, "theirs")
        end(outcome, **both(output="mine"))
        assert as_it_stands().output_json == "theirs"
        assert kernel_emulator.requests("PATCH") == ()
        assert kernel_emulator.requests("DELETE") == ()
        assert f"had already ended as {status}" in caplog.text

    @pytest.mark.parametrize("conf", [{}, {"kernel_invocation_id": None}, {"other": 1}])
    def test_a_run_that_nobody_waits_for(self, conf, end, kernel_emulator, caplog):
        before = len(kernel_emulator.journal)
        end("success", conf=conf, **both(output="x"))
        assert len(kernel_emulator.journal) == before
        assert "no invocation waits for it" in caplog.text

    def test_a_run_whose_conf_airflow_does_not_tell(self, end, as_it_stands, caplog):
        """When every task was skipped there is no task instance to make a context from."""
        end("success", last_ti=False, **both(output="x"))
        assert as_it_stands().status == "running"
        assert "Airflow does not tell the conf of DAG run r" in caplog.text

    def test_but_one_whose_id_is_in_the_runs_id_is_ended_even_then(self, end, waiting, as_it_stands):
        end("success", last_ti=False, run_id=f"kernel__{waiting}", **both(output="x"))
        assert as_it_stands().output_json == "x"

    def test_but_one_that_is_named_is_ended_even_then(self, end, waiting, as_it_stands):
        end("success", last_ti=False, **both(output="x", invocation_id=waiting))
        assert as_it_stands().output_json == "x"
        assert as_it_stands().status == "succeeded"


def test_an_answer_whose_confirmation_is_lost_is_sent_again(end, as_it_stands, kernel_emulator):
    kernel_emulator.switches.patch_on_finished = 400
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", drop="after"))
    end("success", **both(output="x"))
    assert as_it_stands().output_json == "x"


async def test_in_an_event_loop(waiting, as_it_stands):
    notifier = KernelInvocationNotifier(status="succeeded", output={"a": 1}, invocation_id=waiting)
    await notifier
    assert as_it_stands().output_json == {"a": 1}


async def test_in_an_event_loop_for_a_failure(waiting, as_it_stands):
    await fail_kernel_invocation("Too late", invocation_id=waiting)
    assert as_it_stands().output_json == {"error": "Too late"}
    assert as_it_stands().browsers == 0


@pytest.mark.parametrize("arguments", [{"status": "done"}, {"output": 1, "output_from": "x"}])
def test_arguments_that_cannot_be_right_are_refused(arguments):
    with pytest.raises(KernelInputError):
        KernelInvocationNotifier(**arguments)
