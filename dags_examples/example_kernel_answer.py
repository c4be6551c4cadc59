"""
### Answer an agent that waits for Airflow

An action of a Kernel app passes its `ctx.invocation_id` to this DAG, as `kernel_invocation_id` in the run's conf,
and keeps running (`kernel_app_example/app.py` is such an app). The return value of `answer` becomes the output of
the invocation. If `answer` raises, is killed or times out, the invocation fails with the reason. If its worker
vanishes, or an earlier task fails, the DAG's callback fails the invocation.
"""

from airflow.sdk import DAG, task

from airflow_provider_kernel.callbacks import fail_kernel_invocation

with DAG(
    "example_kernel_answer",
    schedule=None,
    on_failure_callback=fail_kernel_invocation(),
    tags=["example", "kernel"],
    doc_md=__doc__,
):

    @task
    def find_orders():
        return [{"id": 1, "price": 20}, {"id": 2, "price": 22}]

    @task.kernel_invocation
    def answer(orders, kernel_invocation):
        total = 0
        for order in orders:
            kernel_invocation.check()  # raises if the invocation has ended, so the work stops
            total += order["price"]
        return {"orders": len(orders), "total": total}

    answer(find_orders())
