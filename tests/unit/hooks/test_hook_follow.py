"""The hook follows the log of an invocation."""

from __future__ import annotations

import threading

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault

LINES = tuple(f"line {number}" for number in range(1, 11))


def test_hook_follow_streams_the_log_of_an_ended_invocation(kernel, hook):
    run = hook.invoke("demo", "logs", {"lines": 10}).id
    kernel.wait_for_status(run, "succeeded")
    assert tuple(line.message for line in hook.follow_invocation(run)) == LINES
    assert len(kernel.requests("GET", "/invocations/*/events")) == 1


def test_hook_follow_streams_the_log_of_a_running_invocation(kernel, hook):
    go = threading.Event()

    def talk(ctx):
        ctx.log("before")
        go.wait(5)
        ctx.log("after")

    kernel.register("own", "talk", talk)
    run = hook.invoke("own", "talk").id
    kernel.wait_until(lambda: kernel.invocation(run).logs == ("before",))
    lines = hook.follow_invocation(run)
    assert next(lines).message == "before"
    assert hook.get_invocation(run).status == "running"  # the hook can be used meanwhile
    go.set()
    assert [line.message for line in lines] == ["after"]


def test_hook_follow_reconnects_when_the_stream_breaks(kernel, connect):
    connect(host=kernel.base_url)
    waits = []
    kernel.add_fault(Fault("GET", "/invocations/*/events", 1, cut_after=4))
    kernel.add_fault(Fault("GET", "/invocations/*/events", 2, cut_after=8, cut="end"))
    with KernelHook("my_kernel", sleep=waits.append) as hook:
        run = hook.invoke("demo", "logs", {"lines": 10}).id
        kernel.wait_for_status(run, "succeeded")
        assert tuple(line.message for line in hook.follow_invocation(run)) == LINES
    assert len(waits) == 2


def test_hook_follow_of_an_unknown_invocation_is_empty(hook):
    assert list(hook.follow_invocation("abc")) == []


def test_hook_follow_sends_nothing_before_iteration(kernel, hook):
    hook.follow_invocation("abc")
    assert kernel.journal == ()
