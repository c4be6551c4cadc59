"""Tasks that a waiting invocation is answered by, for the tests to kill."""

import os
import time
from pathlib import Path

from airflow.sdk import DAG, task


def tell(text):
    """Tell the test how far the function has come."""
    with Path(os.environ["TELL"]).open("a") as told:
        told.write(f"{text}\n")


with DAG("answer", schedule=None):

    @task.kernel_invocation
    def stuck():
        """Work for long, without looking up."""
        tell("working")
        while True:
            time.sleep(60)

    @task.kernel_invocation
    def returns_after_the_kill(kernel_invocation):
        """Come to an end just after the SIGTERM."""
        tell("working")
        while not kernel_invocation._answer.killed:
            time.sleep(0.01)
        return "too late"

    @task.kernel_invocation
    def checks(kernel_invocation):
        """Work for long, and look up."""
        tell("working")
        while True:
            kernel_invocation.check()
            time.sleep(0.01)

    @task.kernel_invocation
    def in_a_round_trip(ti):
        """Ask Airflow something that it does not answer."""
        tell("working")
        ti.xcom_push(key="question", value=1)

    @task.kernel_invocation
    def answers():
        """Come to an end."""
        tell("working")
        return {"orders": 42}

    stuck()
    returns_after_the_kill()
    checks()
    in_a_round_trip()
    answers()
