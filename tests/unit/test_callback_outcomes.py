"""Each callback of the package does what the docs name, in each place that Airflow calls it from."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from airflow.sdk import DAG, BaseOperator
from support import deadlines
from support.dag_callbacks import XComs, answer_from, leave_seconds, ownership
from support.dag_runs import NOW, context_of_missed_deadline, end_run, kill_task
from support.execution_api import task_instance
from support.in_process import run_task
from support.triggerer import Triggerer

from airflow_provider_kernel import callbacks
from airflow_provider_kernel._compat import AirflowFailException, AirflowSkipException
from airflow_provider_kernel.callbacks import (
    cancel_kernel_invocations,
    cancel_kernel_task_invocation,
    kernel_safety_net,
    kernel_task_safety_net,
)
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.names import ownership_key
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))
from callback_outcomes import CALLBACKS, OUTCOMES, PLACES, Outcome

WHERE_IT_BELONGS = {
    "notifier": "Pass it as on_success_callback and on_failure_callback",
    "net": "Pass the safety net to the DAG",
    "task_net": "Pass it to the tasks",
}
HAS_SYNC_CALLBACKS = find_spec("airflow.triggers.callback") is not None
CELLS = [
    pytest.param(
        place,
        name,
        outcome,
        id=f"{place}-{name}",
        marks=pytest.mark.skipif(
            place == "deadline_sync" and not HAS_SYNC_CALLBACKS, reason="Airflow 3.1 runs no SyncCallback"
        ),
    )
    for place, row in OUTCOMES.items()
    for name, outcome in row.items()
]


class Ends(BaseOperator):
    """Ends as it is told, and leaves an invocation running."""

    owned_kind = "invocation"

    def __init__(self, *, error=None, **arguments):
        super().__init__(**arguments)
        self.error = error

    def execute(self, context):
        if self.error is not None:
            raise self.error


class Play:
    """
    Lets Airflow call a callback from one place.

    :param waiting: the invocation that waits for the DAG run.
    :param left: what another task of the run has left running, which is over.
    :param own: what the task whose callback is called has left running.
    """

    def __init__(self, name, kernel, api, monkeypatch):
        self.kernel = kernel
        self.api = api
        with KernelHook() as hook:
            self.waiting, self.left, self.own = (hook.invoke("demo", "hang").id for _ in range(3))
        self.conf = {"kernel_invocation_id": self.waiting}
        self.given = getattr(callbacks, CALLBACKS[name], KernelInvocationNotifier)
        self.callback = self.given if name in ("net", "task_net") else self.given()
        left, own = ownership(self.left), ownership(self.own)
        self.xcoms = XComs({"left": [left], "t": [own]}, states={"left": "failed", "t": "failed"})
        api.conf = self.conf
        api.xcoms[ownership_key("invocation")] = own
        api.other_xcoms = {("d", "r", "left", -1): {ownership_key("invocation"): left}}
        # Airflow says so until the process of the task has ended.
        api.other_task_states = {"d": {"r": {"left": "failed", "t": "running"}}}
        leave_seconds(monkeypatch, 30)
        self.monkeypatch = monkeypatch

    def dag(self, *, error=None, of_tasks=None, of_dag=None):
        with DAG("d", schedule=None, start_date=NOW, default_args=of_tasks or {}, **(of_dag or {})) as dag:
            Ends(task_id="t", error=error)
            KernelInvokeOperator(task_id="left", app_name="demo", action_name="hang")
        return dag

    def outcome(self):
        ids = (self.waiting, self.left, self.own)
        waiting, left, own = (self.kernel.invocation(each).status for each in ids)
        if "failed" in (left, own):
            assert waiting == "running"
            return Outcome.CLEANS_UP if left == "failed" else Outcome.ENDS_OWN
        return {"succeeded": Outcome.SUCCEEDED, "failed": Outcome.FAILED}.get(waiting, Outcome.NOTHING)

    def reason(self):
        return self.kernel.invocation(self.waiting).output_json["error"]

    def _end_run(self, outcome):
        answer_from(self.monkeypatch, self.xcoms)
        both = dict.fromkeys(("on_success_callback", "on_failure_callback"), self.callback)
        end_run(self.dag(of_dag=both), outcome, self.conf, task_id="t")

    def run_success(self):
        self._end_run("success")

    def run_failure(self):
        self._end_run("failed")

    def _run_task(self, error=None, *, max_tries=0, **of_tasks):
        self.api.max_tries = max_tries
        task = self.dag(error=error, of_tasks=of_tasks).get_task("t")
        run_task(ti=task_instance(), task=task, client=self.api.client())

    def task_success(self):
        self._run_task(on_success_callback=self.callback)

    def task_failure(self):
        self._run_task(AirflowFailException("no such page"), max_tries=1, on_failure_callback=self.callback)

    def task_skipped(self):
        self._run_task(AirflowSkipException("nothing to do"), on_skipped_callback=self.callback)

    def task_retry(self):
        retry = {"retries": 1, "on_retry_callback": self.callback, "on_failure_callback": self.callback}
        self._run_task(ValueError("not yet"), max_tries=1, **retry)

    def task_execute(self):
        self._run_task(on_execute_callback=self.callback)

    def _kill_task(self, callback_type, try_number=1, **of_tasks):
        answer_from(self.monkeypatch, self.xcoms)
        self.xcoms.records["t"] = [ownership(self.own, try_number=try_number)]
        tries = {"callback_type": callback_type, "try_number": try_number, "max_tries": 1}
        kill_task(self.dag(of_tasks=of_tasks), "t", self.conf, **tries)

    def killed_failure(self):
        both = dict.fromkeys(("on_retry_callback", "on_failure_callback"), self.callback)
        self._kill_task("failed", try_number=2, **both)

    def killed_retry(self):
        both = dict.fromkeys(("on_retry_callback", "on_failure_callback"), self.callback)
        self._kill_task("up_for_retry", **both)


@pytest.fixture
def play(kernel_emulator, kernel_connection, execution_api, monkeypatch):
    return lambda name: Play(name, kernel_emulator, execution_api, monkeypatch)


@pytest.fixture
def triggerer(supervisor):
    return Triggerer()


@pytest.mark.parametrize(("place", "name", "outcome"), CELLS)
async def test_callback_has_the_outcome_that_the_docs_name(place, name, outcome, play, capsys, request):
    played = play(name)
    if place == "deadline_async":
        await in_triggerer(played, outcome, request.getfixturevalue("triggerer"))
    elif place == "deadline_sync":
        in_executor(played, outcome, WHERE_IT_BELONGS.get(name))
    else:
        getattr(played, place)()
        if outcome is Outcome.ERROR:
            assert WHERE_IT_BELONGS[name] in capsys.readouterr().out
    if outcome in (Outcome.REFUSED, Outcome.ERROR):
        outcome = Outcome.NOTHING
    assert played.outcome() is outcome


async def in_triggerer(played, outcome, triggerer):
    if outcome is Outcome.REFUSED:
        with pytest.raises(AttributeError, match="is not awaitable"):
            deadlines.AsyncCallback(played.given)
        return
    context = context_of_missed_deadline(played.conf)
    event = await deadlines.call_in_triggerer(triggerer, deadlines.AsyncCallback(played.given), context)
    assert (event["state"], event.get("body")) == ("success", None)
    assert played.reason() == "The Airflow DAG run missed its deadline"


def in_executor(played, outcome, where):
    done, error = deadlines.call_in_executor(
        deadlines.SyncCallback(played.given), context_of_missed_deadline(played.conf)
    )
    assert done is (outcome is not Outcome.ERROR)
    if outcome is Outcome.ERROR:
        assert where in error


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("run_success", "Its Airflow DAG run is over"),
        ("run_failure", "The Airflow DAG run failed"),
        ("task_success", "Its Airflow task is over"),
        ("killed_failure", "Its Airflow task is over"),
    ],
)
def test_reason_of_the_net_is_what_has_called_it(place, reason, play):
    played = play("net")
    getattr(played, place)()
    assert played.kernel.invocation(played.left).output_json == {"error": reason}


@pytest.mark.skipif(not HAS_SYNC_CALLBACKS, reason="Airflow 3.1 runs no SyncCallback")
@pytest.mark.parametrize("net", [kernel_safety_net, kernel_task_safety_net], ids=lambda net: net.__name__)
def test_arguments_of_the_net_are_no_callback_of_a_deadline(net):
    done, error = deadlines.call_in_executor(deadlines.SyncCallback(net), context_of_missed_deadline({}))
    assert not done
    assert f"{net.__name__}() is no callback" in error


def test_table_has_each_callback_in_each_place():
    assert list(OUTCOMES) == list(PLACES)
    assert all(list(row) == list(CALLBACKS) for row in OUTCOMES.values())
    assert cancel_kernel_invocations.__name__ == CALLBACKS["net"]
    assert cancel_kernel_task_invocation.__name__ == CALLBACKS["task_net"]
