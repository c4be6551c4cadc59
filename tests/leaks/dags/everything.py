"""All that this package does in a DAG, well and badly. The texts that are looked for come in as Variables."""

from __future__ import annotations

import logging
import pickle

from airflow.sdk import DAG, BaseOperator, Variable, task

from airflow_provider_kernel.callbacks import cancel_kernel_invocations
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
    KernelUpdateInvocationOperator,
)
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.operators.playwright import KernelPlaywrightOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

PAYLOAD = {"card": "{{ var.value.payload }}"}
ANSWER = {"receipt": "{{ var.value.answer }}"}


def invoke(task_id, action, **arguments):
    arguments = {"payload": PAYLOAD, **arguments}
    KernelInvokeOperator(task_id=task_id, app_name="shop", action_name=action, poll_interval=0.1, **arguments)


def answer():
    return {"receipt": Variable.get("answer")}


@task
def start_orphan(ti=None):
    """Leave what a worker leaves that dies before it has written down who owns what it started."""
    names = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id}
    mark = {**names, "map_index": -1, "try_number": 1, "token": "t"}
    with KernelHook() as hook:
        hook.invoke("shop", "wait", {"_airflow": mark})


def show(browser):
    """Let a browser show itself in every way in which it may be logged or kept."""
    browser.check_active()
    addresses = [browser.cdp_url, browser.live_view_url]
    log = logging.getLogger("airflow_provider_kernel.show")
    log.debug("%s %r %s %s", browser, browser, vars(browser), pickle.dumps(browser))
    return {"session": browser.session_id, "addresses": len(addresses)}


with DAG("goes_well", schedule=None, on_success_callback=KernelInvocationNotifier(output=ANSWER)):
    invoke("blocking", "buy", correlation_key="_airflow")
    invoke("deferrable", "buy_slowly", deferrable=True)
    invoke("lines_echo_the_key", "tell_the_key")
    invoke("lines_echo_the_key_deferrable", "tell_the_key", deferrable=True)
    start_orphan()
    KernelInvocationSensor(task_id="sensor", invocation_id="{{ dag_run.conf['bought'] }}")
    KernelInvocationSensor(
        task_id="sensor_deferrable",
        invocation_id="{{ dag_run.conf['buying'] }}",
        deferrable=True,
        stream_logs=True,
        poke_interval=0.1,
    )
    KernelCompleteInvocationOperator(
        task_id="complete", invocation_id="{{ dag_run.conf['waiting'][0] }}", invocation_output=ANSWER
    )
    KernelUpdateInvocationOperator(
        task_id="update",
        invocation_id="{{ dag_run.conf['waiting'][1] }}",
        status="succeeded",
        invocation_output=ANSWER,
    )
    KernelCancelInvocationOperator(task_id="cancel", invocation_id="{{ dag_run.conf['waiting'][2] }}")
    task.kernel_invocation(invocation_id="{{ dag_run.conf['waiting'][3] }}")(answer)()

    @task.kernel_browser(headless=False)
    def browser_shows_itself(browser):
        return show(browser)

    browser_shows_itself()

with DAG(
    "goes_badly",
    schedule=None,
    on_failure_callback=[cancel_kernel_invocations, KernelInvocationNotifier()],
):
    invoke("fails", "fail")
    invoke("fails_deferrable", "fail", deferrable=True)
    invoke("too_large", "buy", max_output_bytes=3)
    invoke("a_payload_that_takes_no_mark", "buy", payload=PAYLOAD["card"], correlation_key="_airflow")
    # Kernel, or a proxy before it, shows what it was sent.
    invoke("start_is_refused", "buy", kernel_conn_id="kernel_echo")
    invoke("look_is_refused", "refuse_looks")
    invoke("look_is_refused_deferrable", "refuse_looks", deferrable=True)
    invoke("log_is_refused", "buy_slowly", kernel_conn_id="kernel_without_logs")
    invoke("log_is_refused_deferrable", "buy_slowly", kernel_conn_id="kernel_without_logs", deferrable=True)
    refused = {"invocation_id": "{{ dag_run.conf['waiting'] }}", "kernel_conn_id": "kernel_echo"}
    KernelInvocationSensor(task_id="sensor_is_refused", **refused)
    KernelCompleteInvocationOperator(task_id="complete_is_refused", invocation_output=ANSWER, **refused)
    KernelUpdateInvocationOperator(
        task_id="update_is_refused", status="failed", invocation_output=ANSWER, **refused
    )
    KernelCancelInvocationOperator(task_id="cancel_is_refused", **refused)
    KernelCancelOrphansOperator(task_id="orphans_is_refused", app_name="shop", kernel_conn_id="kernel_echo")
    task.kernel_invocation(task_id="answer_is_refused", **refused)(answer)()

    @task.kernel_invocation(invocation_id="{{ dag_run.conf['waiting'] }}")
    def answer_is_not_json():
        return [answer(), object()]

    @task.kernel_browser(headless=False)
    def function_with_a_browser_fails(browser):
        raise RuntimeError(f"{browser!r} {show(browser)}")

    @task.kernel_browser
    def download_is_not_there(browser):
        browser.download("none.txt", ".", timeout=0.1)

    @task.kernel_browser
    def browser_has_ended(browser):
        with KernelHook() as hook:
            hook.browsers.delete_by_id(browser.session_id)
        browser.execute("return 1")

    @task.kernel_browser
    def connection_is_refused(page):
        """Kernel refuses the connection; what Playwright says of that names the address."""

    browser_is_refused = task.kernel_browser(task_id="browser_is_refused", kernel_conn_id="kernel_echo")(show)
    for function in (
        function_with_a_browser_fails,
        download_is_not_there,
        browser_has_ended,
        connection_is_refused,
        browser_is_refused,
    ):
        function()
    KernelPlaywrightOperator(task_id="script_is_refused", code="return 1", kernel_conn_id="kernel_echo")

    KernelCancelOrphansOperator(
        task_id="orphans", what=["invocations", "browsers"], app_name="shop", dry_run_only=False
    )


class LeakyOperator(BaseOperator):
    """Lets out what it is given, in each way that there is."""

    template_fields = ("leak",)

    def __init__(self, *, leak, **kwargs):
        super().__init__(**kwargs)
        self.leak = leak

    def execute(self, context):
        print("printed", self.leak)
        logging.getLogger("airflow_provider_kernel.leak").debug("logged %s", self.leak)
        context["ti"].xcom_push("leak", self.leak)
        context["task_state_store"].set("leak", self.leak)
        self.defer(trigger=KernelInvocationTrigger(invocation_id=self.leak, is_new=False), method_name="leave")

    def leave(self, context, event):
        raise RuntimeError(f"raised {self.leak}")


with DAG("leaks", schedule=None):
    LeakyOperator(task_id="leaky", leak="{{ dag_run.conf['leak'] }}")
