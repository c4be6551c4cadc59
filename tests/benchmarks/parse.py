"""
What a DAG file pays for importing our operators, beside those of other providers.

    uv run --with apache-airflow-providers-databricks --with apache-airflow-providers-dbt-cloud \\
        --with apache-airflow-providers-http --with apache-airflow-providers-airbyte \\
        --with airflow-provider-anakin python tests/benchmarks/parse.py

The others are installed for this run only, beside the project's environment; it says which Airflow they are
measured with, and needs two of them at least. Each import is measured in fresh processes, in turns: ``airflow.sdk``
first, and then, in the same process, what comes on top of it, in percent of it. The first turn, which compiles and
reads from the disk, is left out. Garbage collection is off: it comes when it comes, and goes through all that
Airflow has in memory. "CPU" is the same in processor time, which a busy machine changes less.

``@task.kernel_invocation`` is a PythonOperator, as each ``@task`` is: that is measured alone, and then what ours
adds to it. Last, the module that Airflow reads at the start of every process, by itself, with no Airflow around.

It ends with 1, and says which, when a goal is missed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import random
import subprocess
import sys
import tempfile
from statistics import median

from goals import Goals

PROGRAM = """
import gc, json, sys, time
gc.disable()
clocks = time.perf_counter, time.process_time
start = [clock() for clock in clocks]
from airflow.sdk import DAG, BaseOperator
sdk = [clock() for clock in clocks]
{before}
began, modules = [clock() for clock in clocks], len(sys.modules)
{imports}
end = [clock() for clock in clocks]
print(json.dumps([[s - a, e - b] for a, s, b, e in zip(start, sdk, began, end)] + [len(sys.modules) - modules]))
"""
PROVIDER_INFO = """
import json, time
began = time.perf_counter()
from airflow_provider_kernel.provider_info import get_provider_info
get_provider_info()
print(json.dumps(time.perf_counter() - began))
"""
PYTHON_OPERATOR = "import airflow.providers.standard.operators.python"
PACKAGE = "airflow_provider_kernel"
#: What a DAG file of ours imports at most, but for ``@task.kernel_invocation``.
ALL = (
    f"from {PACKAGE}.operators.invocation import *; "
    f"import {PACKAGE}.operators.orphans, {PACKAGE}.sensors.invocation, {PACKAGE}.notifications.kernel, "
    f"{PACKAGE}.callbacks"
)
#: Name: what is imported before and not counted, and what is counted.
OURS = {
    "KernelInvokeOperator": ("", f"import {PACKAGE}.operators.invocation"),
    "all our operators": ("", f"from {PACKAGE}.operators.invocation import *"),
    "and sensor, callbacks": ("", ALL),
    "@task.kernel_invocation": (PYTHON_OPERATOR, f"import {PACKAGE}.decorators.kernel_invocation"),
}
OTHERS = {
    "Databricks": ("apache-airflow-providers-databricks", "airflow.providers.databricks.operators.databricks"),
    "dbt Cloud": ("apache-airflow-providers-dbt-cloud", "airflow.providers.dbt.cloud.operators.dbt"),
    "HTTP": ("apache-airflow-providers-http", "airflow.providers.http.operators.http"),
    "Airbyte": ("apache-airflow-providers-airbyte", "airflow.providers.airbyte.operators.airbyte"),
    "Anakin": ("airflow-provider-anakin", "anakin_provider.operators.anakin"),
}


def run(program: str) -> list:
    """Run a program in a fresh process."""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Measure, print the table, and say which goals are missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-kernel-benchmark-")
    installed = {d.name: d.version for d in importlib.metadata.distributions()}
    others = {name: f"import {module}" for name, (package, module) in OTHERS.items() if package in installed}
    if len(others) < 2:
        parser.error("two other providers are needed: run it as the head of this file says")
    candidates = {**OURS, "PythonOperator": ("", PYTHON_OPERATOR), **{n: ("", i) for n, i in others.items()}}
    names = list(candidates)
    results: dict[str, list] = {name: [] for name in names}
    info = []
    for turn in range(-1, options.rounds):
        random.shuffle(names)
        for name in names:
            before, imports = candidates[name]
            result = run(PROGRAM.format(before=before, imports=imports))
            if turn >= 0:
                results[name].append(result)
        seconds = run(PROVIDER_INFO)
        if turn >= 0:
            info.append(seconds)

    def share(name: str, clock: int) -> float:
        return 100 * median(result[clock][1] / result[clock][0] for result in results[name])

    every = [result for runs in results.values() for result in runs]
    print(f"Airflow {installed['apache-airflow-core']}; {options.rounds} processes each")
    print(
        f"\nairflow.sdk: {median(result[0][0] for result in every) * 1e3:.0f} ms "
        f"({median(result[1][0] for result in every) * 1e3:.0f} ms CPU)\n"
    )
    print(f"{'on top of it':>24} {'time':>10} {'of it':>9} {'CPU':>9} {'modules':>8}")
    for name, runs in results.items():
        version = installed[OTHERS[name][0]] if name in OTHERS else ""
        print(
            f"{name:>24} {median(result[0][1] for result in runs) * 1e3:7.1f} ms {share(name, 0):7.2f} % "
            f"{share(name, 1):7.2f} % {median(result[2] for result in runs):8.0f}  {version}"
        )
    print(f"\nprovider_info: {median(info) * 1e3:.1f} ms")
    goals = Goals()
    for name in OURS:
        limit = 0.6 if name == "KernelInvokeOperator" else 1.5
        goals.at_most(f"{name}, percent of airflow.sdk", share(name, 0), limit)
    for name in others:
        goals.at_most(f"all our operators / {name}", share("all our operators", 0) / share(name, 0), 1)
    goals.at_most("the module provider_info, ms", median(info) * 1e3, 20)
    return goals.tell()


if __name__ == "__main__":
    sys.exit(main())
