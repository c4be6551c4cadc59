# [action]
from airflow_provider_kernel.hooks.kernel import KernelHook


def test_with_an_action_of_your_own(kernel_emulator, kernel_connection):
    @kernel_emulator.action("ticket-agent", "find")
    def find(ctx, payload):
        ctx.log(f"looking for {payload['city']}")
        ctx.create_browser()
        return [{"city": payload["city"], "price": 90}]

    with KernelHook() as hook:
        started = hook.invoke("ticket-agent", "find", {"city": "Lisbon"})
        ended = hook.wait_for_invocation(started.id, poll_interval=0.1)

    assert ended.parsed_output() == [{"city": "Lisbon", "price": 90}]


# [/action]


# [failing]
def test_with_an_action_that_fails(kernel_emulator, kernel_connection):
    @kernel_emulator.action("ticket-agent", "find")
    def find(ctx, payload):
        raise ValueError("the shop has changed its page")

    with KernelHook() as hook:
        started = hook.invoke("ticket-agent", "find")
        ended = hook.wait_for_invocation(started.id, poll_interval=0.1)

    assert ended.status == "failed"
    assert ended.parsed_output() == {"error": "the shop has changed its page"}


# [/failing]
