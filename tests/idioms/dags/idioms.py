"""One DAG for each idiom, with a task of each part of the package: as a script, it runs those that are named."""

import json
import os
import sys
from pathlib import Path

from airflow.sdk import DAG, TaskGroup, task, task_group

from airflow_provider_kernel.callbacks import (
    complete_kernel_invocation,
    fail_kernel_invocation,
    kernel_safety_net,
)
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.ownership import OwnershipPublisher
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
    KernelUpdateInvocationOperator,
)
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.operators.playwright import KernelPlaywrightOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor

VALUES = [{"n": 0}, {"n": 1}]
#: An app, a version and an action that native rendering would make numbers.
NUMBERS = {"app_name": "{{ '2048' }}", "version": "{{ '1.10' }}", "action_name": "{{ '7' }}"}
APP = {"app_name": "2048", "version": "1.10", "action_name": "7"}
INVOKE = {**APP, "poll_interval": 0.1}
SENSOR = {"poke_interval": 0.1, "timeout": 30}


def answer(value):
    return value


def answer_with_a_browser(value, browser):
    browser.check_active()
    return value if isinstance(value, dict) else list(value)  # a @task cannot return a lazy sequence either


def items(values):
    return list(values)


#: By part: the class, its arguments, and the argument that differs from one task instance to the next.
PARTS = {
    "invoke_blocking": (KernelInvokeOperator, INVOKE, "payload"),
    "invoke_deferrable": (KernelInvokeOperator, {**INVOKE, "deferrable": True}, "payload"),
    "sensor_poke": (KernelInvocationSensor, SENSOR, "invocation_id"),
    "sensor_reschedule": (KernelInvocationSensor, {**SENSOR, "mode": "reschedule"}, "invocation_id"),
    "sensor_deferrable": (KernelInvocationSensor, {**SENSOR, "deferrable": True}, "invocation_id"),
    "task_operator": (
        KernelInvocationTaskOperator,
        {"python_callable": answer, "op_kwargs": {"value": VALUES[0]}},
        "invocation_id",
    ),
    "decorator": (None, {}, "invocation_id"),
    "complete": (KernelCompleteInvocationOperator, {"invocation_output": VALUES[0]}, "invocation_id"),
    "cancel": (KernelCancelInvocationOperator, {"reason": "no longer needed"}, "invocation_id"),
    "update": (
        KernelUpdateInvocationOperator,
        {"status": "succeeded", "invocation_output": VALUES[0]},
        "invocation_id",
    ),
    "sweep": (KernelCancelOrphansOperator, {}, "app_name"),
    "browser_operator": (
        KernelBrowserTaskOperator,
        {"python_callable": answer_with_a_browser, "op_kwargs": {"value": VALUES[0]}},
        "profile",
    ),
    "browser_decorator": (None, {}, "profile"),
    "playwright": (KernelPlaywrightOperator, {"code": "return args"}, "args"),
}
#: The decorator of a part, and its function.
DECORATORS = {
    "decorator": (task.kernel_invocation, answer),
    "browser_decorator": (task.kernel_browser, answer_with_a_browser),
}
#: What takes a value of any shape, and so the output of a mapped task as a whole.
ANY_VALUE = {
    "invoke_blocking": lambda value: {"payload": value},
    "invoke_deferrable": lambda value: {"payload": value},
    "task_operator": lambda value: {"op_kwargs": {"value": value}},
    "browser_operator": lambda value: {"op_kwargs": {"value": value}},
    "playwright": lambda value: {"args": value},
    "complete": lambda value: {"invocation_output": value},
    "update": lambda value: {"invocation_output": value},
    "sweep": lambda value: {"dag_ids": value},
}


def value_of(part, index):
    """The differing argument of one task instance; an invocation's id is in the DAG run's conf."""
    argument = PARTS[part][2]
    if argument == "invocation_id":
        return f"{{{{ dag_run.conf['{part}'][{index}] }}}}"
    return {"app_name": "2048", "profile": f"profile-{index}"}.get(argument, VALUES[index])


def make(part, value=None, **more):
    """Make an ordinary task of a part."""
    cls, arguments, argument = PARTS[part]
    value = value_of(part, 0) if value is None else value
    if cls is None:
        passed = more.pop("passed", VALUES[0])
        decorator, function = DECORATORS[part]
        return decorator(task_id=part, **{argument: value}, **more)(function)(passed).operator
    return cls(**{"task_id": part, **arguments, argument: value, **more})


def partial(part):
    cls, arguments, argument = PARTS[part]
    return cls.partial(task_id=part, **arguments), argument


def of_each_index(part):
    """Decorate the function of a part, for mapped tasks."""
    decorator, function = DECORATORS[part]
    own = {
        "decorator": {"invocation_id": "{{ dag_run.conf['decorator'][ti.map_index] }}"},
        "browser_decorator": {"profile": "profile-{{ ti.map_index }}"},
    }
    return decorator(task_id=part, **own[part])(function)


def expand(part, values=None):
    if part in DECORATORS:
        return of_each_index(part).expand(value=VALUES).operator
    mapped, argument = partial(part)
    return mapped.expand(**{argument: values or [value_of(part, 0), value_of(part, 1)]})


def expand_kwargs(part):
    if part in DECORATORS:
        return of_each_index(part).expand_kwargs([{"value": value} for value in VALUES]).operator
    mapped, argument = partial(part)
    return mapped.expand_kwargs([{argument: value_of(part, index)} for index in (0, 1)])


def read(part, operator):
    """Read what a part has pushed, as the next task does."""
    task(items if operator.is_mapped else answer, task_id=f"read_{part}")(operator.output)


def of_output(part):
    source = task(answer, task_id=f"source_{part}")(value_of(part, 0))
    read(part, make(part, source))


def of_mapped_output(part):
    if part in ANY_VALUE:
        values = ["a", "b"] if part == "sweep" else VALUES
        source = task(answer, task_id=f"source_{part}").expand(value=values)
        operator = make(part, **ANY_VALUE[part](source))
    elif part in DECORATORS:
        operator = make(part, passed=task(answer, task_id=f"source_{part}").expand(value=VALUES))
    else:
        source = task(answer, task_id=f"source_{part}").expand(value=[value_of(part, 0), value_of(part, 1)])
        operator = expand(part, source)
    read(part, operator)


def native(part):
    more = {}
    if part.startswith("invoke"):
        more = {**NUMBERS, "payload": "{{ {'n': 0} }}"}
    elif part in ("complete", "update"):
        more = {"invocation_output": "{{ {'n': 0} }}"}
    elif part in ("task_operator", "browser_operator"):
        more = {"op_kwargs": {"value": "{{ {'n': 0} }}"}}
    elif part == "playwright":
        more = {"args": "{{ {'n': 0} }}"}
    elif part in DECORATORS:
        more = {"passed": "{{ {'n': 0} }}"}
    elif part == "sweep":
        return make(part, "{{ '2048' }}")
    return make(part, **more)


def with_default_args(part):
    cls, arguments, argument = PARTS[part]
    with TaskGroup(f"with_{part}", prefix_group_id=False, default_args=arguments):
        if cls is None:
            make(part)
        else:
            cls(task_id=part, **{argument: value_of(part, 0)})


def in_mapped_group(part):
    @task_group(group_id=f"group_of_{part}", prefix_group_id=False)
    def mapped(value):
        make(part, value)

    # The values of a mapped group are not rendered in it, those of a task are.
    mapped.expand(value=task(answer, task_id=f"source_{part}")([value_of(part, 0), value_of(part, 1)]))


def as_teardown(part):
    setup = task(answer, task_id=f"setup_of_{part}")(1).operator.as_setup()
    setup >> task(answer, task_id=f"work_of_{part}")(2) >> make(part).as_teardown(setups=setup)


def as_setup(part):
    setup = make(part).as_setup()
    ends = task(answer, task_id=f"end_of_{part}")(1).operator.as_teardown(setups=setup)
    setup >> task(answer, task_id=f"work_of_{part}")(2) >> ends


#: How an idiom makes the task of a part.
IDIOMS = {
    "expand": expand,
    "expand_kwargs": expand_kwargs,
    "output": of_output,
    "output_of_mapped": of_mapped_output,
    "native": native,
    "default_args": with_default_args,
    "mapped_group": in_mapped_group,
    "xcom_backend": lambda part: read(part, make(part)),
    "rotated_key": make,
    "teardown": as_teardown,
    "setup": as_setup,
}


def make_dag(idiom):
    more = {"default_args": {"kernel_conn_id": "kernel_of_default_args"}} if idiom == "default_args" else {}
    with DAG(idiom, schedule=None, render_template_as_native_obj=idiom == "native", **more) as dag:
        for part in PARTS:
            IDIOMS[idiom](part)
    return dag


class LeavesRunning(KernelInvokeOperator):
    """What a task leaves that was killed by SIGKILL: an invocation that goes on, and the record of who owns it."""

    def execute(self, context):
        publisher = OwnershipPublisher(
            "invocation", context["ti"], kernel_conn_id=self.kernel_conn_id, is_owned=True
        )
        publisher.publish(StartRecord.naming(self.payload))


def id_of(callback, index):
    return f"{{{{ dag_run.conf['{callback}'][{index}] }}}}"


def callbacks(index):
    """Make one of each callback; each ends an invocation of its own."""
    return [
        KernelInvocationNotifier(status="succeeded", output=VALUES[0], invocation_id=id_of("notifier", index)),
        complete_kernel_invocation(VALUES[0], invocation_id=id_of("complete_callback", index)),
        fail_kernel_invocation("no longer needed", invocation_id=id_of("fail_callback", index)),
    ]


def make_dag_of_callbacks():
    more = {"default_args": {"on_success_callback": callbacks(0)}}
    with DAG("callbacks", schedule=None, on_success_callback=callbacks(1), **more) as dag:
        left = LeavesRunning(task_id="left", payload=id_of("net", 0), on_success_callback=None, **APP)
        net = kernel_safety_net()["on_success_callback"]
        left >> task(answer, task_id="net", on_success_callback=net)(1)
        task(answer, task_id="calls")(1)
    return dag


DAGS = {**{idiom: make_dag(idiom) for idiom in IDIOMS}, "callbacks": make_dag_of_callbacks()}
CALLBACKS = ("notifier", "complete_callback", "fail_callback", "net")
globals().update({f"dag_{idiom}": dag for idiom, dag in DAGS.items()})


def start_waiting():
    """Start what the parts wait for, or end: by part, two ids."""
    with KernelHook() as hook:
        ids = {}
        for part, (_, _, argument) in PARTS.items():
            if argument == "invocation_id":
                action = "7" if part.startswith("sensor") else "waits"
                ids[part] = [hook.invoke("2048", action, value, version="1.10").id for value in VALUES]
        for callback in CALLBACKS:
            ids[callback] = [hook.invoke("2048", "waits", value, version="1.10").id for value in VALUES]
        return ids


def run(idiom):
    """Run the DAG of an idiom; return ids, and the states and results of the task instances by task id."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    ids = start_waiting()
    if idiom == "rotated_key":
        # From then on the old one is refused, also to who waits for this invocation.
        with KernelHook() as hook:
            hook.invoke("2048", "replaces_the_key", version="1.10")
        os.environ["AIRFLOW_CONN_KERNEL_DEFAULT"] = os.environ["NEW_CONNECTION"]
    dag_run = DAGS[idiom].test(run_conf=ids)
    states = {}
    for ti in sorted(dag_run.get_task_instances(), key=lambda ti: ti.map_index):
        states.setdefault(ti.task_id, []).append(str(ti.state))
    with create_session() as session:
        stored = session.query(XComModel).filter_by(dag_id=idiom, run_id=dag_run.run_id)
        xcoms = {f"{row.task_id}.{row.map_index}.{row.key}": row.value for row in stored}
    return {"ids": ids, "run": str(dag_run.state), "states": states, "xcoms": xcoms}


if __name__ == "__main__":
    result_file, *chosen = sys.argv[1:]
    Path(result_file).write_text(json.dumps({idiom: run(idiom) for idiom in chosen}))
