"""What the hook can do. The documentation shows the parts between the marks."""

# [invoke]
from airflow_provider_kernel.hooks.kernel import KernelHook


def search(city):
    with KernelHook("kernel_default") as hook:
        started = hook.invoke("demo", "echo", {"city": city}, async_timeout_seconds=300)
        ended = hook.wait_for_invocation(started.id, poll_interval=1)
    if ended.status != "succeeded":
        raise RuntimeError(
            f"Invocation {ended.id} is {ended.status}: {ended.status_reason}"
        )
    return ended.parsed_output()


# [/invoke]


# [list]
def running_since_an_hour(app_name):
    with KernelHook() as hook:
        return [
            i.id
            for i in hook.list_invocations(
                app_name=app_name, status="running", since="1h"
            )
        ]


# [/list]


# [end]
def end_it(invocation_id, orders):
    with KernelHook() as hook:
        if orders is None:
            return hook.cancel_invocation(
                invocation_id, "There are no orders today"
            ).status
        return hook.complete_invocation(invocation_id, {"orders": orders}).status


# [/end]


# [log]
def print_log(invocation_id):
    with KernelHook() as hook:
        for line in hook.follow_invocation(invocation_id):
            print(line)


# [/log]


# [browsers]
def close_browsers(invocation_id):
    with KernelHook() as hook:
        open_before = len(hook.list_invocation_browsers(invocation_id))
        hook.delete_invocation_browsers(invocation_id)
    return open_before


# [/browsers]


# [apps]
def actions_of(app_name):
    with KernelHook() as hook:
        return {
            action.name
            for app in hook.list_apps(app_name=app_name)
            for action in app.actions
        }


# [/apps]


# [retry]
from airflow_provider_kernel.client import RetryPolicy


def look_once(invocation_id):
    with KernelHook(retry=RetryPolicy(max_attempts=1)) as hook:
        return hook.get_invocation(invocation_id).status


# [/retry]


# [errors]
from airflow_provider_kernel.client import (
    KernelNotFoundError,
    KernelRateLimitError,
)


def start_if_possible(app_name):
    with KernelHook() as hook:
        try:
            return hook.invoke(app_name, "echo").id
        except KernelRateLimitError as error:
            return f"the limit is reached; wait {error.retry_after} s"
        except KernelNotFoundError as error:
            return f"there is no such app: {error.message}"


# [/errors]


# [async]
async def status_of(invocation_id):
    from airflow_provider_kernel.client.resources.invocations import requests

    async with await KernelHook().get_async_conn() as client:
        return (await client.send(requests.get_invocation(invocation_id))).status


# [/async]
