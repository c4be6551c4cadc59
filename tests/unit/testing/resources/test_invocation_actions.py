from __future__ import annotations

import asyncio
import json
import threading

import pytest

from airflow_provider_kernel.testing import ActionError, InvocationEndedError


def output(answer):
    return json.loads(answer.json()["output"])


class TestDemo:
    def test_demo_sleep_waits(self, invoke):
        assert output(invoke("sleep", {"seconds": 0})) == {"slept": 0}

    def test_demo_fail_leaves_json_or_plain_text(self, invoke):
        assert invoke("fail", {"message": "m"}).json()["output"] == '{"error": "m"}'
        assert invoke("fail", {"message": "m", "plain": True}).json()["output"] == "m"

    def test_demo_logs_writes_lines(self, kernel, invoke):
        kernel.time_scale = 1000
        answer = invoke("logs", {"lines": 3, "per_second": 10, "message": "m"})
        assert output(answer) == {"lines": 3}
        assert kernel.invocations[0].logs == ("m 1", "m 2", "m 3")

    def test_demo_browsers_opens_browsers(self, kernel, invoke):
        assert len(output(invoke("browsers", {"count": 2, "seconds": 0}))["sessions"]) == 2
        assert kernel.invocations[0].browsers_opened == 2

    def test_demo_action_fails_on_a_payload_of_another_type(self, invoke):
        answer = invoke("sleep", [1])
        assert answer.json()["status"] == "failed"
        assert "JSON object of seconds" in output(answer)["error"]

    @pytest.mark.parametrize(
        ("action", "payload", "words"),
        [
            ("sleep", {"secnods": 1}, "the payload has 'secnods'; this action takes seconds"),
            ("fail", {"mesage": "m"}, "the payload has 'mesage'; this action takes message, plain"),
            ("browsers", {"number": 1}, "the payload has 'number'; this action takes count, seconds"),
        ],
    )
    def test_demo_action_fails_on_a_key_that_it_does_not_take(self, invoke, action, payload, words):
        answer = invoke(action, payload)
        assert answer.json()["status"] == "failed"
        assert words in output(answer)["error"]

    def test_demo_action_takes_the_mark_of_a_task(self, invoke):
        assert output(invoke("sleep", {"seconds": 0, "_airflow": {"token": "t"}})) == {"slept": 0}


class TestOwn:
    def test_actions_may_be_async_and_may_take_the_payload(self, kernel, invoke):
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

    def test_actions_of_two_versions_are_separate(self, kernel, invoke):
        kernel.register("own", "v", lambda ctx: 1, version="1")
        kernel.register("own", "v", lambda ctx: 2, version="2")
        assert output(invoke("v", app="own", version="1")) == 1
        assert output(invoke("v", app="own", version="2")) == 2

    def test_action_decorator_returns_the_function(self, kernel, invoke):
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
    def test_exception_in_an_action_fails_the_invocation(self, kernel, invoke, error, left):
        def broken(ctx):
            raise error

        kernel.register("own", "broken", broken)
        body = invoke("broken", app="own").json()
        assert (body["status"], body["output"]) == ("failed", left)
        assert body["status_reason"] == kernel.switches.reason_failed

    @pytest.mark.parametrize("value", [object(), float("nan")])
    def test_action_result_that_is_not_json_fails_the_invocation(self, kernel, invoke, value):
        kernel.register("own", "odd", lambda ctx: value)
        assert invoke("odd", app="own").json()["status"] == "failed"

    def test_action_wait_returns_whether_the_invocation_was_ended(self, kernel, running):
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

    def test_async_action_is_cancelled_when_the_invocation_ends(self, kernel, running):
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

    def test_ended_invocation_opens_no_browser(self, kernel, running):
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
    def test_register_refuses_a_function_with_other_parameters(self, kernel, function):
        with pytest.raises(TypeError, match=r"must take \(ctx\) or \(ctx, payload\)"):
            kernel.register("own", "x", function)

    def test_register_refuses_a_value_that_is_not_callable(self, kernel):
        with pytest.raises(TypeError, match="not callable"):
            kernel.register("own", "x", 3)
