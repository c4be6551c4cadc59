from __future__ import annotations

import json
import math
import threading

import pytest

from airflow_provider_kernel.testing import KernelEmulator, Switches


class TestPatchOnFinished:
    @pytest.fixture
    def finished(self, invoke):
        return invoke("echo", "first").json()["id"]

    @pytest.fixture
    def patch(self, client, finished):
        def send():
            body = {"status": "failed", "output": '"second"'}
            return client.patch(f"/invocations/{finished}", json=body)

        return send

    def test_patch_of_a_finished_invocation_changes_nothing_by_default(self, client, finished, patch):
        before = client.get(f"/invocations/{finished}").json()
        answer = patch()
        assert (answer.status_code, answer.json()) == (200, before)
        assert client.get(f"/invocations/{finished}").json() == before

    def test_patch_of_a_finished_invocation_may_overwrite(self, kernel, client, finished, patch):
        kernel.switches.patch_on_finished = "overwrite"
        answer = patch()
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["output"]) == ("failed", '"second"')
        assert answer.json()["status_reason"]
        assert client.get(f"/invocations/{finished}").json() == answer.json()

    @pytest.mark.parametrize("status", [400, 404, 409])
    def test_patch_of_a_finished_invocation_may_be_refused(self, kernel, client, finished, patch, status):
        kernel.switches.patch_on_finished = status
        answer = patch()
        assert answer.status_code == status
        assert {"code", "message"} <= set(answer.json())
        assert client.get(f"/invocations/{finished}").json()["status"] == "succeeded"


class TestPatch:
    @pytest.mark.parametrize("status", ["failed", "succeeded"])
    @pytest.mark.parametrize("ends", [True, False])
    def test_patch_ends_browsers_or_not(self, kernel, client, running, status, ends):
        setattr(kernel.switches, f"patch_{status}_ends_browsers", ends)
        invocation_id = running("browsers", {"count": 2, "seconds": 3600})
        kernel.wait_until(lambda: kernel.invocation(invocation_id).browsers == 2)
        client.patch(f"/invocations/{invocation_id}", json={"status": status})
        left = client.get(f"/invocations/{invocation_id}/browsers").json()["browsers"]
        assert len(left) == (0 if ends else 2)

    def test_patch_stops_the_code(self, kernel, client, running):
        stopped = threading.Event()
        kernel.register("own", "work", lambda ctx: stopped.set() if ctx.wait() and ctx.cancelled else None)
        client.patch(f"/invocations/{running('work', app='own')}", json={"status": "failed"})
        assert stopped.wait(5)

    def test_patch_may_only_detach_the_code(self, kernel, client, running):
        kernel.switches.patch_stops_code = False
        go, opened = threading.Event(), threading.Event()

        @kernel.action("own", "work")
        def work(ctx):
            go.wait(5)
            if not ctx.cancelled:
                ctx.create_browser()
                opened.set()
            return "dropped"

        invocation_id = running("work", app="own")
        client.patch(f"/invocations/{invocation_id}", json={"status": "failed"})
        go.set()
        assert opened.wait(5), "the code goes on"
        assert kernel.invocation(invocation_id).status == "failed"
        assert kernel.invocation(invocation_id).output is None
        assert len(client.get(f"/invocations/{invocation_id}/browsers").json()["browsers"]) == 1

    def test_patch_may_require_json_output(self, kernel, client, running):
        invocation_id = running()
        body = {"status": "succeeded", "output": "a bare word"}
        kernel.switches.patch_output_must_be_json = True
        assert client.patch(f"/invocations/{invocation_id}", json=body).status_code == 400
        kernel.switches.patch_output_must_be_json = False
        assert client.patch(f"/invocations/{invocation_id}", json=body).status_code == 200


class TestConcurrency:
    def test_create_over_the_concurrency_limit_is_a_429(self, kernel, invoke, running):
        kernel.switches.max_concurrent = 2
        kernel.switches.retry_after = 7
        first = running()
        running()
        answer = invoke("echo", 1, wait=False)
        assert (answer.status_code, answer.json()["code"]) == (429, "concurrency_limit_exceeded")
        assert answer.headers["Retry-After"] == "7"
        assert len(kernel.invocations) == 2
        kernel.finish(first)
        assert invoke("echo", 1, wait=False).status_code == 202

    def test_concurrency_429_may_have_no_retry_after(self, kernel, invoke):
        kernel.switches.max_concurrent = 0
        kernel.switches.retry_after = None
        answer = invoke("echo", 1)
        assert answer.status_code == 429
        assert "Retry-After" not in answer.headers

    def test_each_app_has_its_own_concurrency_limit(self, kernel, invoke, running):
        kernel.register("own", "work", lambda ctx: ctx.wait())
        kernel.switches.max_concurrent_per_app = 1
        running()
        assert invoke("echo", 1).status_code == 429
        assert running("work", app="own")

    def test_queued_invocation_counts_as_concurrent(self, kernel, invoke):
        kernel.switches.queue_seconds = math.inf
        kernel.switches.max_concurrent = 1
        assert invoke("echo", 1, wait=False).status_code == 202
        assert invoke("echo", 1, wait=False).status_code == 429

    def test_exhausted_capacity_is_a_529(self, kernel, invoke):
        kernel.switches.capacity_exhausted = True
        kernel.switches.capacity_code = "full"
        answer = invoke("echo", 1)
        assert (answer.status_code, answer.json()["code"]) == (529, "full")


class TestRest:
    @pytest.mark.parametrize(("order", "step"), [("newest", -1), ("oldest", 1)])
    def test_list_order_switch(self, kernel, client, invoke, order, step):
        kernel.switches.list_order = order
        ids = [invoke("echo", number).json()["id"] for number in range(3)]
        assert [row["id"] for row in client.get("/invocations").json()] == ids[::step]

    @pytest.mark.parametrize(("setting", "version"), [("label", "latest"), ("resolved", "1.0.0")])
    def test_version_in_response_switch(self, kernel, client, invoke, setting, version):
        kernel.switches.version_in_response = setting
        invocation_id = invoke("echo", 1).json()["id"]
        assert client.get(f"/invocations/{invocation_id}").json()["version"] == version

    @pytest.mark.parametrize(("setting", "expected"), [("null", "null"), ("absent", None)])
    def test_output_of_none_switch(self, kernel, invoke, setting, expected):
        kernel.switches.output_of_none = setting
        kernel.register("own", "nothing", lambda ctx: None)
        assert invoke("nothing", app="own").json().get("output") == expected

    def test_unknown_fields_may_be_ignored(self, kernel, invoke):
        kernel.switches.unknown_fields_refused = False
        assert invoke("echo", 1, colour="red").status_code == 200

    def test_payload_may_be_plain_text(self, kernel, client):
        kernel.switches.payload_must_be_json = False
        body = {"app_name": "demo", "version": "latest", "action_name": "echo", "payload": "bare", "async": True}
        invocation_id = client.post("/invocations", json=body).json()["id"]
        assert kernel.wait_for_status(invocation_id, "succeeded").output == '"bare"'

    def test_codes_of_404_bodies_are_switches(self, kernel, client):
        kernel.switches.not_found_code = "gone"
        kernel.switches.project_not_found_code = "no_project"
        assert client.get("/invocations/x").json()["code"] == "gone"
        assert client.get("/apps", headers={"X-Kernel-Project": "x"}).json()["code"] == "no_project"

    def test_invocation_may_stay_queued(self, kernel, client, invoke):
        kernel.switches.queue_seconds = math.inf
        invocation_id = invoke("echo", 1, wait=False).json()["id"]
        assert client.get(f"/invocations/{invocation_id}").json()["status"] == "queued"
        client.patch(f"/invocations/{invocation_id}", json={"status": "failed"})
        assert kernel.invocation(invocation_id).statuses == ("queued", "failed")

    @pytest.mark.parametrize("ends", [True, False])
    def test_return_ends_browsers_or_not(self, kernel, client, invoke, ends):
        kernel.switches.run_end_ends_browsers = ends
        invocation_id = invoke("browsers", {"count": 2, "seconds": 0}).json()["id"]
        assert kernel.invocation(invocation_id).browsers == (0 if ends else 2)


class TestTime:
    def test_invocation_times_out_on_the_scaled_clock(self, kernel, invoke):
        kernel.time_scale = 100_000
        invocation_id = invoke("hang", wait=False).json()["id"]
        record = kernel.wait_for_status(invocation_id, "failed")
        assert "900" in record.status_reason
        assert record.output is None

    def test_timed_out_invocation_loses_its_browsers_and_its_code_is_stopped(self, kernel, invoke):
        kernel.time_scale = 50
        stopped = threading.Event()

        @kernel.action("own", "work")
        def work(ctx):
            ctx.create_browser()
            ctx.wait()
            stopped.set()

        invocation_id = invoke("work", app="own", wait=False, async_timeout_seconds=10).json()["id"]
        record = kernel.wait_for_status(invocation_id, "failed")
        assert (record.browsers, record.browsers_opened) == (0, 1)
        assert stopped.wait(5)

    def test_actions_wait_on_the_scaled_clock(self, kernel, invoke):
        kernel.time_scale = 100_000
        assert json.loads(invoke("sleep", {"seconds": 80}).json()["output"]) == {"slept": 80}

    @pytest.mark.parametrize("scale", [0, -1, math.inf, math.nan])
    def test_time_scale_must_be_positive_and_finite(self, scale):
        with pytest.raises(ValueError, match="time_scale"):
            KernelEmulator(time_scale=scale)


class TestMisuse:
    def test_switch_refuses_an_invalid_value(self):
        with pytest.raises(ValueError, match=r"patch_on_finished.*'ignore'.*'unchanged', 'overwrite', 400"):
            Switches(patch_on_finished="ignore")
        with pytest.raises(ValueError, match="True or False"):
            Switches().patch_stops_code = "no"
        with pytest.raises(ValueError, match="0 or more"):
            Switches(max_concurrent=-1)

    def test_unknown_switch_is_refused(self):
        with pytest.raises(AttributeError, match=r"patch_on_finish'.*patch_on_finished"):
            Switches().patch_on_finish = 409
