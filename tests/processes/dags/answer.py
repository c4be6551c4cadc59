"""Tasks that respond to a waiting invocation, for the tests to kill."""

import os
import time
from pathlib import Path

from airflow.sdk import DAG, task


def report(text):
    """Report to the test how far the function has come."""
    with Path(os.environ["TELL"]).open("a") as progress:
        progress.write(f"{text}\n")


with DAG("answer", schedule=None):

    @task.kernel_invocation
    def stuck():
        """Never return, and never check."""
        report("working")
        while True:
            time.sleep(60)

    @task.kernel_invocation
    def returns_after_the_kill(kernel_invocation):
        """Return just after the SIGTERM."""
        report("working")
        while not kernel_invocation._responder.killed:
            time.sleep(0.01)
        return "too late"

    @task.kernel_invocation
    def checks(kernel_invocation):
        """Never return, and check all the time."""
        report("working")
        while True:
            kernel_invocation.check()
            time.sleep(0.01)

    @task.kernel_invocation
    def in_a_round_trip(ti):
        """Make a call that Airflow does not answer."""
        report("working")
        ti.xcom_push(key="question", value=1)

    @task.kernel_invocation
    def answers():
        """Return at once."""
        report("working")
        return {"orders": 42}

    stuck()
    returns_after_the_kill()
    checks()
    in_a_round_trip()
    answers()
