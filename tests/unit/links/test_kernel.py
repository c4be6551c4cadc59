"""The links on a task's page show from its start and in every state, and never fail the task."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone

import httpx
import pytest
from airflow.sdk import DAG, task
from airflow.sdk.bases.xcom import BaseXCom
from support.serialized import as_servers_know

from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.ledger import Ledger
from airflow_provider_kernel.lifecycle.owner import Owner
from airflow_provider_kernel.links.kernel import (
    DASHBOARD,
    LIVE_VIEW,
    KernelDashboardLink,
    KernelLiveViewLink,
)
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
    KernelUpdateInvocationOperator,
)
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor
from airflow_provider_kernel.testing import Fault

TEMPLATE = "https://d.example/{invocation_id}"
KEY = "_link_KernelDashboardLink"
LIVE_KEY = "_link_KernelLiveViewLink"
ECHO = {"app_name": "demo", "action_name": "echo", "poll_interval": 0.01}
HANG = {"app_name": "demo", "action_name": "hang", "poll_interval": 0.01}
BROWSERS = {
    "app_name": "demo",
    "action_name": "browsers",
    "payload": {"count": 1, "seconds": 600},
    "poll_interval": 0.01,
}


@pytest.fixture
def dashboard(kernel_emulator, monkeypatch):
    """Set the connection's dashboard URL."""

    def set_url(template):
        connection = {**json.loads(kernel_emulator.airflow_connection), "extra": {"dashboard_url": template}}
        monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))

    return set_url


@pytest.fixture
def stored(execution_api):
    """What was stored in XCom, in order: key and value as sent."""
    stored = []

    def note(method, path):
        if method == "POST" and path.startswith("/xcoms/"):
            key = path.rsplit("/", 1)[-1]
            stored.append((key, execution_api.xcoms[key]))

    execution_api.after = note
    return stored


@pytest.fixture
def started(kernel_emulator, kernel_connection):
    with KernelHook() as hook:
        return hook.invoke("demo", "hang").id


#: What no link may lead to.
NO_WEB_ADDRESSES = [
    None,
    "",
    "javascript:alert(1)",
    "java\nscript:alert(1)",
    " https://x",
    "https://x\0",
    "https://x/\ud800",
    "https://",
    "https://[x",
    "wss://x",
    "/live",
    "x" * 99,
    7,
    {"a": 1},
]


class TestWhileItRuns:
    def test_dashboard_link_is_stored_as_soon_as_the_id_is_known(self, run, stored, kernel_emulator, dashboard):
        dashboard("https://d.example/{app_name}/{invocation_id}")
        assert run(KernelInvokeOperator, payload="x", **ECHO).state == "success"
        (invocation,) = kernel_emulator.invocations
        link = f"https://d.example/demo/{invocation.id}"
        # Stored once when the id is known, and once by Airflow at the end.
        shown = [(key, value) for key, value in stored if key != "kernel_invocation_owner"]
        assert shown == [("invocation_id", invocation.id), (KEY, link), ("return_value", "x"), (KEY, link)]

    @pytest.mark.parametrize("template", [None, "https://d.example/", "https://d.example/{session_id}"])
    def test_dashboard_link_that_names_nothing_of_the_invocation_is_not_shown(
        self, template, run, stored, dashboard, capsys
    ):
        if template:
            dashboard(template)
        assert run(KernelInvokeOperator, **ECHO).state == "success"
        assert KEY not in dict(stored)  # not even an empty one, by Airflow at the end
        assert "; see " not in capsys.readouterr().out

    def test_dashboard_link_escapes_names_from_elsewhere(self, run, execution_api, kernel_emulator, dashboard):
        dashboard("https://d.example/apps/{app_name}/x")
        kernel_emulator.register("../a?b#c", "echo", lambda ctx: None)
        run(KernelInvokeOperator, app_name="../a?b#c", action_name="echo", poll_interval=0.01)
        assert execution_api.xcoms[KEY] == "https://d.example/apps/..%2Fa%3Fb%23c/x"

    def test_dashboard_link_is_stored_without_wait_for_completion(self, run, execution_api, dashboard):
        dashboard(TEMPLATE)
        run(KernelInvokeOperator, wait_for_completion=False, **HANG)
        assert execution_api.xcoms[KEY].startswith("https://d.example/")

    def test_dashboard_link_of_a_mapped_task_has_its_map_index(self, make_task, execution_api, dashboard):
        dashboard("https://d.example/{invocation_id}")
        where = []
        client = execution_api._act
        execution_api._act = lambda method, path, request: (
            where.append((method, request.url.params.get("map_index"))) if path.endswith(KEY) else None,
            client(method, path, request),
        )[1]
        assert make_task(KernelInvokeOperator, map_index=3, **ECHO).run().state == "success"
        assert where == [("POST", "3"), ("POST", "3")]

    @pytest.mark.parametrize(
        "arguments", [{"deferrable": True}, {"wait_for_completion": False}], ids=lambda found: next(iter(found))
    )
    def test_dashboard_link_of_a_process_that_ends_soon_is_stored_by_airflow_alone(
        self, arguments, run, stored, kernel_emulator, dashboard, monkeypatch
    ):
        monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)
        dashboard(TEMPLATE)
        assert run(KernelInvokeOperator, **HANG, **arguments).state in ("deferred", "success")
        link = f"https://d.example/{kernel_emulator.invocations[0].id}"
        assert [value for key, value in stored if key == KEY] == [link]

    def test_link_that_needs_a_browser_is_not_replaced_by_the_process_that_defers(
        self, run, execution_api, dashboard, monkeypatch
    ):
        monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)
        dashboard("https://d.example/{app_name}/{session_id}")

        def write_from_the_trigger(method, path):
            if method == "PATCH" and path.endswith("/state"):
                assert execution_api.xcoms[KEY] == "https://d.example/demo/"
                execution_api.xcoms[KEY] = "https://d.example/demo/session"

        execution_api.after = write_from_the_trigger
        assert run(KernelInvokeOperator, deferrable=True, **HANG).state == "deferred"
        assert execution_api.xcoms[KEY] == "https://d.example/demo/session"


class TestAfterOtherEnds:
    def test_dashboard_link_is_stored_for_a_failed_invocation(self, run, execution_api, dashboard):
        dashboard(TEMPLATE)
        assert run(KernelInvokeOperator, app_name="demo", action_name="fail", max_tries=0).state == "failed"
        assert execution_api.xcoms[KEY].startswith("https://d.example/")

    def test_no_dashboard_link_is_stored_when_nothing_was_started(self, run, execution_api, kernel_emulator):
        kernel_emulator.add_fault(Fault("POST", "/invocations", status=400, body={"code": "c", "message": "m"}))
        assert run(KernelInvokeOperator, **ECHO).state == "failed"
        assert KEY not in execution_api.xcoms

    @pytest.mark.parametrize("end", ["succeeded", "failed"])
    def test_dashboard_link_is_kept_by_the_process_after_a_deferral(
        self, end, make_task, execution_api, kernel_emulator, dashboard, monkeypatch
    ):
        monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)
        dashboard("https://d.example/{invocation_id}")
        deferred = make_task(KernelInvokeOperator, deferrable=True, **HANG).run()
        assert deferred.state == "deferred"
        (invocation,) = kernel_emulator.invocations
        link = f"https://d.example/{invocation.id}"
        assert execution_api.xcoms[KEY] == link
        kernel_emulator.finish(invocation.id, end)
        other_process = make_task(KernelInvokeOperator, deferrable=True, **HANG)
        event = {"invocation_id": invocation.id, "status": "finished"}
        other_process.resume("execute_complete", event=event)
        assert execution_api.xcoms[KEY] == link

    @pytest.mark.parametrize("template", [TEMPLATE, "https://d.example/"])
    def test_process_after_a_deferral_does_not_ask_for_a_link_that_it_knows(
        self, template, make_task, execution_api, kernel_emulator, dashboard, monkeypatch
    ):
        monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)
        dashboard(template)
        first = make_task(KernelInvokeOperator, deferrable=True, **HANG)
        deferred = first.run()
        kernel_emulator.finish(kernel_emulator.invocations[0].id)
        event = first.trigger_event(deferred)
        link = execution_api.xcoms.get(KEY)
        assert make_task(KernelInvokeOperator, deferrable=True, **HANG).resume("execute_complete", event=event)
        assert execution_api.xcoms.get(KEY) == link
        assert not [path for method, path in execution_api.requests if method == "GET" and path.endswith(KEY)]

    @pytest.mark.parametrize("known", ["https://d.example/known", "", None, "javascript:alert(1)"])
    def test_stored_link_shows_only_where_the_process_knows_none(self, known, monkeypatch):
        monkeypatch.setattr("airflow.sdk.bases.xcom.BaseXCom.get_one", lambda **options: "https://d.example/stored")
        ti = type("TI", (), {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1})
        operator = type("Operator", (), {"known_link": known})
        expected = known if known in ("", "https://d.example/known") else "https://d.example/stored"
        assert DASHBOARD.get_link(operator, ti_key=ti) == expected

    def test_dashboard_link_is_kept_when_airflow_ends_the_deferral(
        self, make_task, execution_api, monkeypatch, dashboard
    ):
        dashboard(TEMPLATE)
        monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)
        make_task(KernelInvokeOperator, deferrable=True, **HANG).run()
        make_task(KernelInvokeOperator, deferrable=True, **HANG).resume("__fail__", error="Trigger timeout")
        assert execution_api.xcoms[KEY].startswith("https://d.example/")

    def test_dashboard_link_is_kept_when_the_connection_is_deleted_during_the_deferral(
        self, make_task, execution_api, monkeypatch, dashboard
    ):
        dashboard(TEMPLATE)
        monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)
        make_task(KernelInvokeOperator, deferrable=True, **HANG).run()
        monkeypatch.delenv("AIRFLOW_CONN_KERNEL_DEFAULT")
        other_process = make_task(KernelInvokeOperator, deferrable=True, **HANG)
        result = other_process.resume("__fail__", error="Trigger failure")
        assert result.state in ("failed", "up_for_retry")
        assert "Trigger" in repr(result.error)
        assert execution_api.xcoms[KEY].startswith("https://d.example/")

    @pytest.mark.needs_airflow("3.3", "before, no try knows of another")
    def test_dashboard_link_of_a_try_after_a_crash_is_that_of_the_reconnected_invocation(
        self, make_task, execution_api, kernel_emulator, dashboard, monkeypatch
    ):
        class Crash(BaseException):
            pass

        def crash(*_, **__):
            raise Crash

        dashboard("https://d.example/{invocation_id}")
        first = make_task(KernelInvokeOperator, **HANG)
        with monkeypatch.context() as patch:
            patch.setattr(KernelHook, "wait_for_invocation", crash)
            # What a crash leaves undone.
            patch.setattr(Owner, "end", lambda owner, reason: None)
            patch.setattr(Ledger, "close", lambda ledger: None)
            first.run()
        (invocation,) = kernel_emulator.invocations
        kernel_emulator.finish(invocation.id)
        second = first.next_try()
        assert KEY not in execution_api.xcoms
        assert second.run().state == "success"
        assert execution_api.xcoms[KEY] == f"https://d.example/{invocation.id}"


class TestOtherOperators:
    @pytest.mark.parametrize(
        ("operator_class", "arguments"),
        [
            (KernelCompleteInvocationOperator, {}),
            (KernelCancelInvocationOperator, {}),
            (KernelUpdateInvocationOperator, {"status": "succeeded"}),
            (KernelInvocationSensor, {"deferrable": True}),
            (KernelInvocationSensor, {"mode": "reschedule", "poke_interval": 60}),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_other_operators_store_the_dashboard_link_of_their_invocation(
        self, operator_class, arguments, run, started, execution_api, dashboard
    ):
        dashboard("https://d.example/{app_name}/{invocation_id}")
        run(operator_class, invocation_id=started, **arguments)
        assert execution_api.xcoms[KEY] == f"https://d.example/demo/{started}"

    @pytest.mark.parametrize("operator_class", [KernelCancelInvocationOperator, KernelInvocationSensor])
    def test_dashboard_link_is_stored_when_the_invocation_cannot_be_fetched(
        self, operator_class, run, execution_api, dashboard
    ):
        dashboard("https://d.example/{invocation_id}")
        assert run(operator_class, invocation_id="nobody-knows-it").state == "failed"
        assert execution_api.xcoms[KEY] == "https://d.example/nobody-knows-it"

    def test_sensor_stores_the_dashboard_link_once_for_many_pokes(
        self, run, started, stored, kernel_emulator, dashboard
    ):
        dashboard("https://d.example/{invocation_id}")
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", 4, body={"id": started, "status": "succeeded"}))
        run(KernelInvocationSensor, invocation_id=started, poke_interval=0.01)
        assert len(kernel_emulator.requests("GET", "/invocations/*")) == 4
        assert [key for key, _ in stored].count(KEY) == 2  # the second one is Airflow's, at the end

    @pytest.mark.parametrize(
        "ends", [lambda: 1, lambda: 1 / 0], ids=["with the function's value", "with its error"]
    )
    def test_invocation_task_stores_the_dashboard_link_of_its_invocation(
        self, ends, run, started, execution_api, dashboard
    ):
        dashboard("https://d.example/{app_name}/{invocation_id}")
        run(KernelInvocationTaskOperator, python_callable=ends, invocation_id=started, max_tries=0)
        assert execution_api.xcoms[KEY] == f"https://d.example/demo/{started}"

    def test_invocation_task_stores_the_dashboard_link_before_its_function_runs(
        self, run, started, execution_api, dashboard
    ):
        dashboard("https://d.example/{invocation_id}")
        seen = []
        run(
            KernelInvocationTaskOperator,
            python_callable=lambda: seen.append(execution_api.xcoms[KEY]),
            invocation_id=started,
        )
        assert seen == [f"https://d.example/{started}"]

    def test_invocation_task_succeeds_when_its_dashboard_link_cannot_be_stored(
        self, run, started, execution_api, kernel_emulator, dashboard
    ):
        dashboard(TEMPLATE)
        act = execution_api._act
        denied = httpx.Response(403, json={"detail": {"reason": "access_denied", "message": "no"}})
        execution_api._act = lambda m, path, request: denied if path.endswith(KEY) else act(m, path, request)
        result = run(KernelInvocationTaskOperator, python_callable=lambda: "done", invocation_id=started)
        assert result.state == "success"
        assert kernel_emulator.invocation(started).output_json == "done"

    def test_kill_while_the_dashboard_link_is_stored_ends_the_waiting_invocation(
        self, make_task, started, execution_api, kernel_emulator, dashboard
    ):
        dashboard(TEMPLATE)

        class KilledMeanwhile(KernelInvocationTaskOperator):
            def show_dashboard(self, *args, **options):
                execution_api.after = lambda method, path: self.on_kill() if path.endswith(KEY) else None
                return super().show_dashboard(*args, **options)

        called = []
        task_try = make_task(
            KilledMeanwhile, python_callable=lambda: called.append(1), invocation_id=started, max_tries=0
        )
        assert task_try.run().state == "failed"
        assert called == []
        assert kernel_emulator.invocation(started).status == "failed"

    @pytest.mark.parametrize("address", NO_WEB_ADDRESSES)
    def test_stored_address_that_is_no_web_address_is_not_shown(self, address, monkeypatch):
        monkeypatch.setattr("airflow.sdk.bases.xcom.BaseXCom.get_one", lambda **options: address)
        ti = type("TI", (), {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1})
        assert DASHBOARD.get_link(None, ti_key=ti) == ""

    def test_orphans_operator_has_no_link(self):
        assert not KernelCancelOrphansOperator.operator_extra_links


class TestFailures:
    @pytest.mark.parametrize("method", ["POST", "GET"])
    def test_task_succeeds_when_airflow_does_not_store_its_dashboard_link(
        self, method, run, execution_api, kernel_emulator, dashboard
    ):
        dashboard(TEMPLATE)
        act = execution_api._act
        denied = httpx.Response(403, json={"detail": {"reason": "access_denied", "message": "no"}})
        execution_api._act = lambda m, path, request: (
            denied if m == method and path.endswith(KEY) else act(m, path, request)
        )
        assert run(KernelInvokeOperator, payload="fine", **ECHO).state == "success"
        assert execution_api.xcoms["return_value"] == "fine"
        assert kernel_emulator.requests("PATCH") == ()
        if method == "GET":
            assert execution_api.xcoms[KEY].startswith("https://d.example/")  # the first one is kept

    def test_link_is_stored_past_a_custom_xcom_backend(self, run, stored, monkeypatch, dashboard, kernel_emulator):
        dashboard(TEMPLATE)

        class References(BaseXCom):
            serialize_value = staticmethod(lambda value, **of: "a reference")

        monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", References)
        run(KernelInvokeOperator, payload="fine", **ECHO)
        assert {value for key, value in stored if key == KEY} == {
            f"https://d.example/{kernel_emulator.invocations[0].id}"
        }

    def test_failure_to_store_a_live_view_link_is_logged_without_the_address(self, caplog, monkeypatch):
        def fail(**options):
            raise RuntimeError("secret address")

        monkeypatch.setattr("airflow.sdk.bases.xcom.BaseXCom.set", fail)
        ti = type("TI", (), {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": None})
        LIVE_VIEW.write(ti, "https://live.example?jwt=secret", log=logging.getLogger("a.task"))
        (record,) = caplog.records
        assert record.getMessage().startswith("Airflow did not store the link 'Kernel live view': RuntimeError in ")
        assert "secret" not in record.getMessage()


class TestLiveView:
    @pytest.fixture
    def until_found(self, kernel_emulator, execution_api):
        """End the invocation when the link to its live view is stored, or the session of its browser."""

        def until_found(tell=lambda xcoms: LIVE_KEY in xcoms):
            before = execution_api.after

            def end(method, path):
                before(method, path)
                if path.startswith("/xcoms/") and tell(execution_api.xcoms):
                    (invocation,) = kernel_emulator.invocations
                    kernel_emulator.finish(invocation.id)

            execution_api.after = end

        return until_found

    def test_live_view_link_is_stored_once_there_is_a_browser(
        self, run, execution_api, stored, until_found, kernel_emulator, capsys, dashboard
    ):
        dashboard(TEMPLATE)
        until_found()
        assert run(KernelInvokeOperator, live_view_link=True, **BROWSERS).state == "success"
        link, *after = [value for key, value in stored if key == LIVE_KEY]
        assert link.startswith("https://")
        assert after == [""]  # hidden: the browser has ended
        token = link.partition("jwt=")[2]
        assert token
        assert token not in capsys.readouterr().out
        assert execution_api.xcoms[KEY].startswith("https://d.example/")

    @pytest.mark.parametrize("is_deferred", [False, True])
    def test_live_view_link_shows_while_the_task_waits_and_is_hidden_when_it_has_ended(
        self, is_deferred, make_task, execution_api, monkeypatch
    ):
        def wait(hook, invocation_id, **options):
            LIVE_VIEW.write(task.ti, "https://live.example", log=logging.getLogger("a.task"))
            if is_deferred:
                raise KernelInvocationTimeoutError(was_seen=True)
            raise RuntimeError("any other end, such as a kill")

        monkeypatch.setattr(KernelHook, "wait_for_invocation", wait)
        arguments = {"deferrable": is_deferred, "live_view_link": True, "max_tries": 0, **HANG}
        task = make_task(KernelInvokeOperator, **arguments)
        assert task.run().state == ("deferred" if is_deferred else "failed")
        assert execution_api.xcoms[LIVE_KEY] == ("https://live.example" if is_deferred else "")
        if is_deferred:
            make_task(KernelInvokeOperator, **arguments).resume("__fail__", error="Trigger timeout")
            assert execution_api.xcoms[LIVE_KEY] == ""

    def test_live_view_link_is_off_by_default_and_browsers_are_not_fetched(
        self, run, execution_api, kernel_emulator
    ):
        kernel_emulator.time_scale = 10_000
        assert run(KernelInvokeOperator, **BROWSERS).state == "success"
        assert LIVE_KEY not in execution_api.xcoms
        assert kernel_emulator.requests("GET", "/invocations/*/browsers") == ()

    def test_live_view_link_of_an_invocation_without_browsers_is_polled_a_limited_number_of_times(
        self, run, execution_api, kernel_emulator, monkeypatch
    ):
        monkeypatch.setattr("airflow_provider_kernel.client.resources.invocations.wait.MAX_BROWSER_POLLS", 3)

        def end(method, path):
            if len(kernel_emulator.requests("GET", "/invocations/*")) > 8:
                kernel_emulator.finish(kernel_emulator.invocations[0].id)

        kernel_emulator.register("app", "slow", lambda ctx: ctx.wait(0.3))
        arguments = {"app_name": "app", "action_name": "slow", "poll_interval": 0.01}
        assert run(KernelInvokeOperator, live_view_link=True, **arguments).state == "success"
        assert len(kernel_emulator.requests("GET", "/invocations/*/browsers")) == 3
        assert execution_api.xcoms[LIVE_KEY] == ""

    @pytest.mark.parametrize("status", [403, 404, 500])
    def test_task_succeeds_when_its_live_view_cannot_be_fetched(self, status, run, execution_api, kernel_emulator):
        kernel_emulator.add_fault(Fault("GET", "/invocations/*/browsers", None, status=status))
        kernel_emulator.register("app", "slow", lambda ctx: ctx.wait(0.2))
        arguments = {"app_name": "app", "action_name": "slow", "poll_interval": 0.01}
        assert run(KernelInvokeOperator, live_view_link=True, **arguments).state == "success"
        assert kernel_emulator.requests("PATCH") == ()

    def test_dashboard_link_may_hold_the_browsers_session_id(self, run, execution_api, dashboard, until_found):
        dashboard("https://d.example/browsers/{session_id}")
        until_found(lambda xcoms: xcoms.get(KEY, "").rpartition("/")[2])
        assert run(KernelInvokeOperator, **BROWSERS).state == "success"
        found = execution_api.xcoms[KEY]
        assert found.startswith("https://d.example/browsers/")
        assert found != "https://d.example/browsers/"
        assert LIVE_KEY not in execution_api.xcoms

    @pytest.mark.parametrize("address", ["http://[", "https://[::1", "//[", "https://a]b/"])
    def test_task_succeeds_when_the_address_of_its_live_view_is_no_url(
        self, address, run, execution_api, kernel_emulator
    ):
        found = {"browsers": [{"session_id": "s", "browser_live_view_url": address}]}
        kernel_emulator.add_fault(Fault("GET", "/invocations/*/browsers", None, status=200, body=found))
        kernel_emulator.register("app", "slow", lambda ctx: ctx.wait(0.3))
        arguments = {"app_name": "app", "action_name": "slow", "poll_interval": 0.01}
        assert run(KernelInvokeOperator, live_view_link=True, **arguments).state == "success"
        assert kernel_emulator.requests("GET", "/invocations/*/browsers")
        assert kernel_emulator.requests("PATCH") == ()
        assert execution_api.xcoms[LIVE_KEY] == ""

    @pytest.mark.parametrize("address", NO_WEB_ADDRESSES)
    def test_live_view_link_with_another_scheme_than_http_is_not_stored(self, address):
        class Nowhere:
            def __getattr__(self, name):
                raise AssertionError(name)

        LIVE_VIEW.write(Nowhere(), address, log=logging.getLogger("a.task"))


ONE_LINK = {"Kernel dashboard": KEY}
BOTH_LINKS = {**ONE_LINK, "Kernel live view": LIVE_KEY}


class TestSerializedDag:
    """The API server reads a DAG from its serialized form, and finds each link by its XCom key."""

    @pytest.fixture
    def links(self):
        def links(operator_class, mapped=False, **arguments):
            with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
                if mapped:
                    operator_class.partial(task_id="t", **arguments).expand(payload=[1, 2])
                else:
                    operator_class(task_id="t", **arguments)
            task = as_servers_know(dag).get_task("t")
            return {link.name: link.xcom_key for link in task.operator_extra_links}

        return links

    @pytest.mark.parametrize("mapped", [False, True])
    def test_serialized_invoke_operator_has_its_links(self, links, mapped):
        assert links(KernelInvokeOperator, mapped=mapped, **ECHO) == ONE_LINK
        assert links(KernelInvokeOperator, mapped=mapped, live_view_link=False, **ECHO) == ONE_LINK
        assert links(KernelInvokeOperator, mapped=mapped, live_view_link=True, **ECHO) == BOTH_LINKS

    @pytest.mark.parametrize(
        "operator_class",
        [KernelCompleteInvocationOperator, KernelCancelInvocationOperator, KernelInvocationSensor],
    )
    def test_serialized_other_operator_has_the_dashboard_link(self, links, operator_class):
        assert links(operator_class, invocation_id="i") == ONE_LINK

    def test_serialized_invocation_task_has_the_dashboard_link(self, links):
        assert links(KernelInvocationTaskOperator, python_callable=print, invocation_id="i") == ONE_LINK

    @pytest.mark.parametrize("mapped", [False, True])
    def test_serialized_decorated_invocation_task_has_the_dashboard_link(self, mapped):
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:

            @task.kernel_invocation
            def t(city):
                return city

            t.expand(city=["Lisbon", "Porto"]) if mapped else t("Lisbon")
        known = as_servers_know(dag).get_task("t")
        assert {link.name: link.xcom_key for link in known.operator_extra_links} == ONE_LINK

    def test_link_keys_are_those_of_the_link_classes(self):
        assert (DASHBOARD.xcom_key, LIVE_VIEW.xcom_key) == (KEY, LIVE_KEY)
        assert (KernelDashboardLink().name, KernelLiveViewLink().name) == ("Kernel dashboard", "Kernel live view")
