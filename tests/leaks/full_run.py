"""
Runs the DAGs in a real Airflow, in a process of its own, and writes down what became of them.

Airflow's own masking is switched off: what this package lets out is to be seen, whatever Airflow knows to hide.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
import traceback
from pathlib import Path

from airflow._shared.secrets_masker import SecretsMasker as CoreMasker
from airflow.sdk._shared.secrets_masker import SecretsMasker
from airflow.utils.db import initdb

from airflow_provider_kernel._compat import load_dag_folder
from airflow_provider_kernel.browser.handle import KernelBrowser
from airflow_provider_kernel.client import outage
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.http import response
from airflow_provider_kernel.client.resources.browsers import requests as browser_requests
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.find_started import StartCriteria
from airflow_provider_kernel.handoff import check_output
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle import owner
from airflow_provider_kernel.notifications.kernel import InvocationEnd, KernelInvocationNotifier
from airflow_provider_kernel.operators import _responder
from airflow_provider_kernel.operators._responder import InvocationResponder
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.owned.invocation import OwnedInvocation
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger
from leaks.markers import ANSWER, OUTPUT, PAYLOAD, PLANTED


def run(dag, **conf):
    dag_run = dag.test(run_conf=conf)
    return {ti.task_id: ti.state for ti in dag_run.get_task_instances()}


def main(folder, told):
    for masker in (CoreMasker, SecretsMasker):
        masker.add_mask = lambda *_, **__: None
    # For minutes ends that fail are tried again and a refused key is waited for, which lets nothing else out.
    outage.ACCESS_SECONDS = 1.0
    owner.WORKER_END_SECONDS = _responder.WORKER_END_SECONDS = 1.0
    initdb()
    bag = load_dag_folder(Path(folder), "dags-folder")
    assert not bag.import_errors, bag.import_errors
    with KernelHook() as hook:
        start = lambda action: hook.invoke("shop", action, {"card": PAYLOAD}).id  # noqa: E731
        bought = start("buy")
        hook.wait_for_invocation(bought, poll_interval=0.1)
        waiting = [start("wait") for _ in range(7)]
        buying = start("buy_slowly")
    states = {
        "goes_well": run(
            bag.dags["goes_well"],
            bought=bought,
            buying=buying,
            waiting=waiting,
            kernel_invocation_id=waiting[4],
        ),
        "goes_badly": run(bag.dags["goes_badly"], waiting=waiting[5], kernel_invocation_id=waiting[6]),
        "leaks": run(bag.dags["leaks"], leak=PLANTED),
    }
    objects = [repr([PLANTED]), *things(bag, bought), *asyncio.run(async_things()), *errors()]
    Path(told).write_text(json.dumps({"states": states, "objects": objects, "bought": bought, "waiting": waiting}))


def things(bag, bought):
    """What the objects of this package show of themselves."""
    payload, output = {"card": PAYLOAD}, {"receipt": OUTPUT}
    with KernelHook() as hook:
        session = hook.browsers.create(headless=False)
        create = requests.create_invocation("shop", "buy", payload=payload)
        operator = KernelInvokeOperator(task_id="t", app_name="shop", action_name="buy", payload=payload)
        shown = [
            hook,
            vars(hook),
            hook.config,
            hook.get_conn(),
            vars(hook.get_conn()),
            hook.get_conn()._http,
            hook.get_conn()._http.headers,
            hook.get_invocation(bought),
            list(hook.list_invocations()),
            hook.test_connection(),
            create,
            str(create),
            requests.update_invocation(bought, "succeeded", output),
            response.Response(200, {}, json.dumps({"output": OUTPUT, "payload": PAYLOAD}).encode()),
            StartCriteria.by(create),
            OwnedInvocation(lambda payload: create, payload=payload, correlation_key=None, ti=None),
            InvocationEnd(bought, output=output),
            KernelInvocationNotifier(output=output),
            InvocationResponder(
                hook.config, bought, ti=None, retries_left=False, kernel_conn_id=hook.kernel_conn_id
            ),
            operator,
            session,
            [session],
            hook.browsers,
            hook.browsers.retrieve(session.session_id),
            list(hook.browsers.list()),
            browser_requests.get_browser(session.session_id),
            response.Response(200, {}, json.dumps({"cdp_ws_url": session.cdp_ws_url}).encode()),
            KernelBrowser(session.session_id, hook),
            vars(KernelBrowser(session.session_id, hook)),
            pickle.dumps(KernelBrowser(session.session_id, hook)),
            KernelInvocationTrigger(invocation_id=bought),
            KernelInvocationTrigger(invocation_id=bought).serialize(),
            *bag.dags["goes_well"].tasks,
            *bag.dags["goes_badly"].tasks,
        ]
    return [text for thing in shown for text in (repr(thing), str(thing))]


async def async_things():
    async with await KernelHook().get_async_conn() as client:
        return [repr(client), repr(vars(client))]


def errors():
    """What errors show of themselves, in every way in which somebody may look at them."""
    with KernelHook() as hook, KernelHook("kernel_echo") as echo:
        attempts = [
            lambda: echo.get_invocation("abc"),
            lambda: echo.invoke("shop", "buy", {"card": PAYLOAD}),
            lambda: echo.complete_invocation("abc", {"receipt": ANSWER}),
            lambda: list(echo.list_apps()),
            lambda: list(echo.follow_invocation("abc")),
            lambda: hook.invoke("shop", "buy", [PAYLOAD, float("nan")]),
            lambda: hook.invoke("no-such-app", "buy", {"card": PAYLOAD}),
            lambda: hook.complete_invocation("no-such-id", {"receipt": ANSWER}),
            lambda: hook.complete_invocation("abc", [ANSWER, object()]),
            lambda: check_output(ANSWER, 3),
            lambda: echo.browsers.create(),
            lambda: echo.browsers.retrieve("abc"),
            lambda: hook.browsers.retrieve("no-such-id"),
        ]
        shown = [echo.test_connection()[1]]
        for attempt in attempts:
            shown += told_by(attempt)
    return shown


def told_by(attempt):
    try:
        attempt()
    except KernelError as error:
        whole = traceback.TracebackException.from_exception(error, capture_locals=False)
        return [repr(error), str(error), repr(vars(error)), "".join(whole.format())]
    return []


main(*sys.argv[1:])
