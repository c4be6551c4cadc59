"""A task of Airflow's own, for ``task_cpu.py``."""

from datetime import timedelta

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator


class WaitOperator(BaseOperator):
    """Be deferred on Airflow's own trigger, and do nothing else."""

    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(hours=1)), method_name="execute_complete")

    def execute_complete(self, context, event):
        return 1


with DAG("airflow_task", schedule=None):
    WaitOperator(task_id="wait")
