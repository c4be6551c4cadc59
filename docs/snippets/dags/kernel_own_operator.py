from airflow.sdk import DAG, BaseOperator

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger


class Search(BaseOperator):
    """Start an invocation, and wait for it in the triggerer."""

    def execute(self, context):
        with KernelHook() as hook:
            started = hook.invoke("demo", "echo", {"city": "Lisbon", "nights": 2})
        # By this, the trigger sees that the task still waits for it.
        context["ti"].xcom_push(key="invocation_id", value=started.id)
        self.defer(
            trigger=KernelInvocationTrigger(invocation_id=started.id, poll_interval=1),
            method_name="go_on",
        )

    def go_on(self, context, event):
        # The event only says that it is time to look; Kernel says how it ended.
        with KernelHook() as hook:
            ended = hook.get_invocation(event["invocation_id"])
        if ended.status != "succeeded":
            raise RuntimeError(f"Invocation {ended.id} is {ended.status}")
        return ended.parsed_output()["city"]


with DAG("kernel_own_operator", schedule=None):
    Search(task_id="search")
