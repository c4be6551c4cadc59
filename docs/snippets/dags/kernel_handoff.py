from airflow.sdk import DAG, Param

from airflow_provider_kernel.operators.invocation import (
    KernelCompleteInvocationOperator,
)

with DAG(
    "kernel_handoff",
    schedule=None,
    params={"invocation_id": Param(type="string"), "orders": Param(0, type="integer")},
    render_template_as_native_obj=True,
):
    KernelCompleteInvocationOperator(
        task_id="answer",
        invocation_id="{{ params.invocation_id }}",
        invocation_output={"orders": "{{ params.orders }}"},
        if_finished="skip",
    )
