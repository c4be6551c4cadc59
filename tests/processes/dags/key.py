"""Tasks that show an API key which no connection holds."""

import json
import os

from airflow.sdk import DAG, task

from airflow_provider_kernel.hooks.kernel import KernelHook

with DAG("key", schedule=None):

    @task
    def shows_the_key():
        """Let the key out as a debugging user may: printed, in a dump of the environment, in a traceback."""
        with KernelHook() as hook:
            key = hook.config.api_key
        print("printed", key)
        print("dumped", {name: value for name, value in os.environ.items() if name == "KERNEL_API_KEY"})
        print("as JSON", json.dumps({"key": key}))
        raise RuntimeError(f"refused with {key}")

    shows_the_key()
