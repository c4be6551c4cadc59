"""Each part of the package does in each idiom of Airflow what the docs say, and what they say is forbidden is."""

import ast
import importlib
import inspect
import json
import sys
from pathlib import Path

import pytest
from airflow.sdk import DAG, BaseOperator, TaskGroup
from airflow.triggers.base import BaseTrigger

import airflow_provider_kernel
from airflow_provider_kernel import callbacks
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.provider_info import get_provider_info
from airflow_provider_kernel.triggers.finished import KernelInvocationFinishedTrigger
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))
from idiom_matrix import CELLS, IDIOMS, OTHERS, TASKS, Forbidden

ROOT = Path(__file__).parents[2]

VALUES = [{"n": 0}, {"n": 1}]
MAPPED = ("expand", "expand_kwargs", "mapped_group")
#: In the DAG of default_args each part is in a task group; that of the key has nothing but the parts.
SAME_RUN = {"group": "default_args", "dag_test": "rotated_key"}
#: How the invocation of a part that ends one has ended.
ENDS = {
    "task_operator": "succeeded",
    "decorator": "succeeded",
    "complete": "succeeded",
    "update": "succeeded",
    "cancel": "failed",
}
#: How the invocations of the callbacks have ended: of one of the task, and of one of the DAG.
CALLBACKS = {
    "notifier": ["succeeded"] * 2,
    "complete_callback": ["succeeded"] * 2,
    "fail_callback": ["failed"] * 2,
}
#: What takes one id only is mapped over the output of a mapped task.
MAPPED_FOR_THEIR_IDS = [
    ("output_of_mapped", part) for part in ("sensor_poke", "sensor_reschedule", "sensor_deferrable", "cancel")
]
NO_TASKS = {
    "notifier": KernelInvocationNotifier(),
    "complete_callback": callbacks.complete_kernel_invocation(),
    "fail_callback": callbacks.fail_kernel_invocation(),
    "net": callbacks.cancel_kernel_invocations,
    "net_of_both": callbacks.kernel_safety_net(),
    "task_net": callbacks.cancel_kernel_task_invocation,
    "task_net_of_tasks": callbacks.kernel_task_safety_net(),
    "watcher": KernelInvocationFinishedTrigger(),
    "trigger": KernelInvocationTrigger.__new__(KernelInvocationTrigger),
}
PLAYED = [
    pytest.param(part, idiom, id=f"{part}-{idiom}")
    for part in TASKS
    for idiom in IDIOMS
    if CELLS[part][idiom] == "tests/idioms/test_idioms.py::test_task_in_idiom"
]
FORBIDDEN = [
    pytest.param(part, idiom, cell, id=f"{part}-{idiom}")
    for part, row in CELLS.items()
    for idiom, cell in row.items()
    if isinstance(cell, Forbidden)
]


@pytest.fixture
def run_of(request):
    """Return what became of the DAG of an idiom."""

    def find(idiom):
        is_other = idiom == "xcom_backend"
        return request.getfixturevalue("runs_of_another_backend" if is_other else "plain_runs")[
            SAME_RUN.get(idiom, idiom)
        ]

    return find


@pytest.mark.parametrize(("part", "idiom"), PLAYED)
def test_task_in_idiom(part, idiom, run_of, kernel):
    run = run_of(idiom)
    count = 2 if idiom in MAPPED or (idiom, part) in MAPPED_FOR_THEIR_IDS else 1
    assert run["states"][part] == ["success"] * count
    assert run["states"].get(f"read_{part}", ["success"]) == ["success"]
    if part in ENDS:
        ended = [kernel.invocation(invocation_id) for invocation_id in run["ids"][part][:count]]
        assert [invocation.status for invocation in ended] == [ENDS[part]] * count
        if part == "task_operator":
            assert json.loads(ended[0].output) == (VALUES if idiom == "output_of_mapped" else VALUES[0])
    if idiom in ("output", "output_of_mapped") and part.startswith("invoke"):
        # What the next task has read is what the part has returned.
        assert run["xcoms"][f"read_{part}.-1.return_value"] == run["xcoms"][f"{part}.-1.return_value"]
    if part.startswith(("browser", "playwright")):
        of_part = {"airflow_dag": SAME_RUN.get(idiom, idiom), "airflow_task": part}
        browsers = [browser for browser in kernel.browsers if browser.tags.items() >= of_part.items()]
        assert [browser.end_cause for browser in browsers] == ["deleted"] * count
    if part.startswith(("invoke", "complete")):
        links = [value for key, value in run["xcoms"].items() if key.startswith(f"{part}.") and "_link_" in key]
        assert links == []  # no page of an invocation is known


@pytest.mark.parametrize("idiom", ["plain", "xcom_backend"])
def test_callback_of_a_task_and_of_a_dag_ends_its_invocation(idiom, request, kernel):
    runs = request.getfixturevalue("plain_runs" if idiom == "plain" else "runs_of_another_backend")
    ids = runs["callbacks"]["ids"]
    ended = {name: [kernel.invocation(each).status for each in ids[name]] for name in CALLBACKS}
    assert ended == CALLBACKS
    assert kernel.invocation(ids["net"][0]).status == "failed"


@pytest.mark.parametrize("part", TASKS)
def test_task_uses_a_key_that_was_replaced_before_its_process(part, plain_runs):
    assert plain_runs["rotated_key"]["states"][part] == ["success"]


@pytest.mark.parametrize(("part", "idiom", "forbidden"), FORBIDDEN)
def test_airflow_forbids_what_the_docs_say(part, idiom, forbidden):
    subject = NO_TASKS[part]
    if idiom in ("group", "mapped_group"):
        with DAG("d"), TaskGroup("g") as group, pytest.raises(AttributeError, match=f"'{forbidden.attribute}'"):
            group.add(subject)
    else:
        with pytest.raises(AttributeError, match=f"'{forbidden.attribute}'"):
            getattr(subject, forbidden.attribute)


@pytest.mark.parametrize("part", CELLS)
def test_part_has_a_cell_for_each_idiom_whose_test_exists(part):
    assert set(CELLS[part]) == set(IDIOMS)
    for cell in CELLS[part].values():
        if not isinstance(cell, Forbidden):
            path, name = cell.split("::")
            assert name in {
                node.name
                for node in ast.walk(ast.parse((ROOT / path).read_text()))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }, cell


def test_each_part_of_the_package_is_in_the_matrix():
    info = get_provider_info()
    modules = [
        name
        for kind in ("operators", "sensors", "triggers")
        for each in info[kind]
        for name in each["python-modules"]
    ]
    found = {
        f"{module}.{name}"
        for module in modules
        for name, cls in inspect.getmembers(importlib.import_module(module), inspect.isclass)
        if issubclass(cls, BaseOperator | BaseTrigger)
        and name.startswith("Kernel")
        and (cls.__module__ == module or module.endswith("operators.invocation"))
        and not name.endswith("BaseOperator")
    }
    found |= {*info["notifications"], *(each["class-name"] for each in info["task-decorators"])}
    found |= {
        f"{callbacks.__name__}.{name}"
        for name, value in vars(callbacks).items()
        if inspect.isfunction(value) and value.__module__ == callbacks.__name__ and not name.startswith("_")
    }
    rows = {f"{airflow_provider_kernel.__name__}.{path}" for _, path in [*TASKS.values(), *OTHERS.values()]}
    assert rows == found
    assert list(CELLS) == [*TASKS, *OTHERS]
