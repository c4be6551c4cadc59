"""
### Answer an agent that waits for Airflow

An action of a Kernel app hands its `ctx.invocation_id` to this DAG, as `kernel_invocation_id` in the run's conf,
and stays alive (`kernel_app_example/app.py` is such an app). What `answer` returns becomes the invocation's output.
When it raises, is killed or times out, the invocation fails with the reason; should its worker vanish, or an
earlier task fail, the DAG's callback sees to that.
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
            kernel_invocation.check()  # stops the work when nobody waits any more
            total += order["price"]
        return {"orders": len(orders), "total": total}

    answer(find_orders())
