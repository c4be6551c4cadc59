"""
Each part of the package in each idiom of Airflow: the test that plays it, or the error that forbids it.

The page about idioms shows the matrix; ``tests/idioms/test_idioms.py`` plays it. Imports nothing.
"""

from __future__ import annotations

from typing import NamedTuple


class Forbidden(NamedTuple):
    """
    What Airflow raises.

    :param error: the name of its class.
    :param attribute: what its message says that the part does not have.
    :param why: why that is so.
    """

    error: str
    attribute: str
    why: str

    def sentence(self) -> str:
        """Say it as the documentation does."""
        return f"{self.why}: Airflow raises ``{self.error}``, there is no ``{self.attribute}``"


#: The idioms, as the table names them.
IDIOMS = {
    "expand": "mapped by ``expand``",
    "expand_kwargs": "mapped by ``expand_kwargs``",
    "output": "``.output``, given and read",
    "output_of_mapped": "the output of a mapped task",
    "native": "``render_template_as_native_obj=True``",
    "default_args": "``default_args``",
    "group": "in a task group",
    "mapped_group": "in a mapped task group",
    "dag_test": "``dag.test()``",
    "xcom_backend": "a custom XCom backend",
    "rotated_key": "a key that is replaced",
    "teardown": "``as_teardown()``",
    "setup": "``as_setup()``",
}

#: The parts that are tasks: name, and the class or decorator.
TASKS = {
    "invoke_blocking": ("KernelInvokeOperator", "operators.invocation.KernelInvokeOperator"),
    "invoke_deferrable": ("KernelInvokeOperator, deferrable", "operators.invocation.KernelInvokeOperator"),
    "sensor_poke": ("KernelInvocationSensor", "sensors.invocation.KernelInvocationSensor"),
    "sensor_reschedule": ("KernelInvocationSensor, reschedule", "sensors.invocation.KernelInvocationSensor"),
    "sensor_deferrable": ("KernelInvocationSensor, deferrable", "sensors.invocation.KernelInvocationSensor"),
    "task_operator": ("KernelInvocationTaskOperator", "operators.invocation_task.KernelInvocationTaskOperator"),
    "decorator": ("@task.kernel_invocation", "decorators.kernel_invocation.kernel_invocation_task"),
    "complete": ("KernelCompleteInvocationOperator", "operators.invocation.KernelCompleteInvocationOperator"),
    "cancel": ("KernelCancelInvocationOperator", "operators.invocation.KernelCancelInvocationOperator"),
    "update": ("KernelUpdateInvocationOperator", "operators.invocation.KernelUpdateInvocationOperator"),
    "sweep": ("KernelCancelOrphansOperator", "operators.orphans.KernelCancelOrphansOperator"),
    "browser_operator": ("KernelBrowserTaskOperator", "operators.browser.KernelBrowserTaskOperator"),
    "browser_decorator": ("@task.kernel_browser", "decorators.kernel_browser.kernel_browser_task"),
    "playwright": ("KernelPlaywrightOperator", "operators.playwright.KernelPlaywrightOperator"),
}

#: The parts that are no tasks.
OTHERS = {
    "notifier": ("KernelInvocationNotifier", "notifications.kernel.KernelInvocationNotifier"),
    "complete_callback": ("complete_kernel_invocation", "callbacks.complete_kernel_invocation"),
    "fail_callback": ("fail_kernel_invocation", "callbacks.fail_kernel_invocation"),
    "net": ("cancel_kernel_invocations", "callbacks.cancel_kernel_invocations"),
    "net_of_both": ("kernel_safety_net", "callbacks.kernel_safety_net"),
    "task_net": ("cancel_kernel_task_invocation", "callbacks.cancel_kernel_task_invocation"),
    "task_net_of_tasks": ("kernel_task_safety_net", "callbacks.kernel_task_safety_net"),
    "watcher": ("KernelInvocationFinishedTrigger", "triggers.finished.KernelInvocationFinishedTrigger"),
    "trigger": ("KernelInvocationTrigger", "triggers.invocation.KernelInvocationTrigger"),
}

_HERE = "tests/idioms/test_idioms.py::"
_OF_TASKS = f"{_HERE}test_task_in_idiom"
_OF_CALLBACKS = f"{_HERE}test_callback_of_a_task_and_of_a_dag_ends_its_invocation"
_OF_ROTATION = f"{_HERE}test_task_uses_a_key_that_was_replaced_before_its_process"
_NOTIFIER = "tests/unit/notifications/test_kernel.py::"
_NET = "tests/unit/test_callbacks.py::"
_TASK_NET = "tests/unit/test_task_safety_net.py::"
_ROTATION = "tests/unit/test_replaced_key.py::"
#: What waits, or goes through a list, is shown with a key that is replaced meanwhile; the rest sends one request.
_OF_ROTATION_MEANWHILE = {
    "invoke_blocking": f"{_ROTATION}test_task_that_waits_on_a_worker_goes_on_with_a_replaced_key",
    **dict.fromkeys(
        ("invoke_deferrable", "sensor_deferrable"), f"{_ROTATION}test_trigger_goes_on_with_a_replaced_key"
    ),
    **dict.fromkeys(
        ("sensor_poke", "sensor_reschedule"),
        f"{_ROTATION}test_sensor_goes_on_with_a_key_that_is_replaced_in_a_poke",
    ),
    **dict.fromkeys(("task_operator", "decorator"), f"{_ROTATION}test_answering_task_goes_on_with_a_replaced_key"),
    "sweep": f"{_ROTATION}test_sweep_ends_with_a_replaced_key",
    **dict.fromkeys(
        ("browser_operator", "browser_decorator", "playwright"),
        f"{_ROTATION}test_task_ends_its_browser_with_a_replaced_key",
    ),
}

_CALLBACK = "It is a callback, and no task"
_TRIGGER = "It is a trigger, and no task"
#: What Airflow looks for in a task, in the idioms that are of tasks alone.
_OF_TASKS_ALONE = {
    "expand": "partial",
    "expand_kwargs": "partial",
    "group": "task_group",
    "mapped_group": "task_group",
    "teardown": "as_teardown",
    "setup": "as_setup",
}


def _forbidden(why: str, **more: str) -> dict[str, str | Forbidden]:
    return {idiom: Forbidden("AttributeError", name, why) for idiom, name in {**_OF_TASKS_ALONE, **more}.items()}


_OF_NOTIFIERS: dict[str, str | Forbidden] = {
    **_forbidden(_CALLBACK),
    "output": f"{_NOTIFIER}test_notifier_sends_the_return_value_of_a_task",
    "output_of_mapped": f"{_NOTIFIER}test_notifier_sends_the_list_of_all_return_values_of_a_mapped_task",
    "native": f"{_NOTIFIER}test_notifier_in_a_dag_that_renders_natively_sends_native_output",
    "default_args": _OF_CALLBACKS,
    "dag_test": _OF_CALLBACKS,
    "xcom_backend": _OF_CALLBACKS,
    "rotated_key": f"{_ROTATION}test_notifier_ends_with_a_replaced_key",
}
_OF_NETS: dict[str, str | Forbidden] = {
    **_forbidden(_CALLBACK, output="output"),
    "output_of_mapped": f"{_NET}test_safety_net_ends_the_invocations_of_every_task_also_of_mapped_ones",
    "native": f"{_NET}test_safety_net_uses_the_rendered_connection_of_each_record",
    "default_args": _OF_CALLBACKS,
    "dag_test": _OF_CALLBACKS,
    "xcom_backend": _OF_CALLBACKS,
    "rotated_key": f"{_ROTATION}test_safety_net_ends_with_a_replaced_key",
}
#: It finds and ends as the net of the run does, and so has the same tests but for what calls it.
_OF_TASK_NETS: dict[str, str | Forbidden] = {
    **_OF_NETS,
    "output_of_mapped": f"{_TASK_NET}test_mapped_task_has_the_invocation_of_its_own_index_ended",
    "default_args": f"{_TASK_NET}test_task_that_fails_has_its_invocation_ended_while_airflow_says_that_it_runs",
    "dag_test": f"{_TASK_NET}test_task_that_fails_has_its_invocation_ended_while_airflow_says_that_it_runs",
}
_OF_TRIGGERS: dict[str, str | Forbidden] = {
    **_forbidden(_TRIGGER, output="output", output_of_mapped="output", native="get_dag", dag_test="test"),
    "default_args": Forbidden("AttributeError", "default_args", _TRIGGER),
}

#: What stands in each cell: the test, or the error.
CELLS: dict[str, dict[str, str | Forbidden]] = {
    **{
        part: {**dict.fromkeys(IDIOMS, _OF_TASKS), "rotated_key": _OF_ROTATION_MEANWHILE.get(part, _OF_ROTATION)}
        for part in TASKS
    },
    **dict.fromkeys(("notifier", "complete_callback", "fail_callback"), _OF_NOTIFIERS),
    **dict.fromkeys(("net", "net_of_both"), _OF_NETS),
    **dict.fromkeys(("task_net", "task_net_of_tasks"), _OF_TASK_NETS),
    "watcher": {
        **_OF_TRIGGERS,
        "xcom_backend": Forbidden("AttributeError", "xcom_push", _TRIGGER),
        "rotated_key": f"{_ROTATION}test_watcher_goes_on_with_a_replaced_key",
    },
    # What a deferred task does is done by it.
    "trigger": {
        **_OF_TRIGGERS,
        "xcom_backend": _OF_TASKS,
        "rotated_key": f"{_ROTATION}test_trigger_goes_on_with_a_replaced_key",
    },
}
