from __future__ import annotations

import asyncio
import json
import threading

import pytest

from airflow_provider_kernel.testing import ActionError, InvocationEndedError


def output(answer):
    return json.loads(answer.json()["output"])


class TestDemo:
    def test_sleep(self, invoke):
        assert output(invoke("sleep", {"seconds": 0})) == {"slept": 0}

    def test_fail_with_json_or_plain_text(self, invoke):
        assert invoke("fail", {"message": "m"}).json()["output"] == '{"error": "m"}'
        assert invoke("fail", {"message": "m", "plain": True}).json()["output"] == "m"

    def test_logs(self, kernel, invoke):
        kernel.time_scale = 1000
        answer = invoke("logs", {"lines": 3, "per_second": 10, "message": "m"})
        assert output(answer) == {"lines": 3}
        assert kernel.invocations[0].logs == ("m 1", "m 2", "m 3")

    def test_browsers(self, kernel, invoke):
        assert len(output(invoke("browsers", {"count": 2, "seconds": 0}))["sessions"]) == 2
        assert kernel.invocations[0].browsers_opened == 2

    def test_a_payload_of_another_shape_fails_the_run(self, invoke):
        answer = invoke("sleep", [1])
        assert answer.json()["status"] == "failed"
        assert "JSON object" in output(answer)["error"]


class TestOwn:
    def test_sync_and_async_with_and_without_payload(self, kernel, invoke):
        async def both(ctx, payload):
            await ctx.sleep(0)
            return {"id": ctx.invocation_id, "payload": payload}

        async def alone(ctx):
            return ctx.invocation_id

        kernel.register("own", "sync", lambda ctx, payload: [payload])
        kernel.register("own", "sync-alone", lambda ctx: ctx.invocation_id)
        kernel.register("own", "async", both)
        kernel.register("own", "async-alone", alone)
        assert output(invoke("sync", 1, app="own")) == [1]
        for action in ("sync-alone", "async-alone"):
            answer = invoke(action, 1, app="own")
            assert output(answer) == answer.json()["id"]
        answer = invoke("async", {"x": 1}, app="own")
        assert output(answer) == {"id": answer.json()["id"], "payload": {"x": 1}}

    def test_versions_are_apart(self, kernel, invoke):
        kernel.register("own", "v", lambda ctx: 1, version="1")
        kernel.register("own", "v", lambda ctx: 2, version="2")
        assert output(invoke("v", app="own", version="1")) == 1
        assert output(invoke("v", app="own", version="2")) == 2

    def test_the_decorator_gives_the_function_back(self, kernel, invoke):
        @kernel.action("own", "three")
        def three(ctx):
            return 3

        assert three(None) == 3
        assert output(invoke("three", app="own")) == 3

    @pytest.mark.parametrize(
        ("error", "left"),
        [
            (ValueError("bad"), '{"error": "bad"}'),
            (ValueError(), '{"error": "ValueError()"}'),
            (ActionError("m"), '{"error": "m"}'),
            (ActionError("m", output="plain"), "plain"),
            (SystemExit(3), '{"error": "3"}'),
        ],
    )
    def test_an_exception_fails_the_run(self, kernel, invoke, error, left):
        def broken(ctx):
            raise error

        kernel.register("own", "broken", broken)
        body = invoke("broken", app="own").json()
        assert (body["status"], body["output"]) == ("failed", left)
        assert body["status_reason"] == kernel.switches.reason_failed

    @pytest.mark.parametrize("value", [object(), float("nan")])
    def test_a_result_that_is_no_json_fails_the_run(self, kernel, invoke, value):
        kernel.register("own", "odd", lambda ctx: value)
        assert invoke("odd", app="own").json()["status"] == "failed"

    def test_wait_tells_whether_it_was_ended(self, kernel, running):
        seen = []
        begun, done = threading.Event(), threading.Event()

        @kernel.action("own", "waits")
        def waits(ctx):
            seen.extend([ctx.cancelled, ctx.wait(0)])
            begun.set()
            seen.extend([ctx.wait(3600), ctx.cancelled])
            done.set()

        invocation_id = running("waits", app="own")
        assert begun.wait(5)
        kernel.finish(invocation_id)
        assert done.wait(5)
        assert seen == [False, False, True, True]

    def test_a_coroutine_is_cancelled(self, kernel, running):
        begun, cancelled = threading.Event(), threading.Event()

        @kernel.action("own", "sleeps")
        async def sleeps(ctx):
            begun.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        invocation_id = running("sleeps", app="own")
        assert begun.wait(5)
        kernel.finish(invocation_id, "failed", raw_output="by hand")
        assert cancelled.wait(5)
        (record,) = kernel.invocations
        assert (record.status, record.output) == ("failed", "by hand")

    def test_no_browser_for_an_ended_run(self, kernel, running):
        errors = []
        done = threading.Event()

        @kernel.action("own", "late")
        def late(ctx):
            ctx.wait()
            try:
                ctx.create_browser()
            except InvocationEndedError as error:
                errors.append(error)
            done.set()

        kernel.finish(running("late", app="own"))
        assert done.wait(5)
        assert len(errors) == 1
        assert kernel.invocations[0].browsers_opened == 0

    @pytest.mark.parametrize("function", [lambda: None, lambda a, b, c: None])
    def test_a_function_of_another_shape_is_refused(self, kernel, function):
        with pytest.raises(TypeError, match=r"must take \(ctx\) or \(ctx, payload\)"):
            kernel.register("own", "x", function)

    def test_what_is_no_function_is_refused(self, kernel):
        with pytest.raises(TypeError, match="not callable"):
            kernel.register("own", "x", 3)
