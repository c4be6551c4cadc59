"""What is loaded when a DAG file is parsed, and when Airflow looks for providers."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_kernel
from airflow_provider_kernel import browser_arguments, invocation_arguments
from airflow_provider_kernel.arguments import TABLE
from airflow_provider_kernel.emulator_extra import MODULES

PROGRAM = """
import json, sys
{first}
before = set(sys.modules)
{then}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded_by(then, *, first=""):
    """Return the modules that a statement loads in addition to those of another one."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(first=first, then=then)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def ours(modules):
    return {module for module in modules if module.startswith("airflow_provider_kernel.")}


def packages(modules):
    return {module.partition(".")[0] for module in modules}


def test_operators_load_no_library_beyond_those_of_airflow_sdk():
    loaded = loaded_by(
        "from airflow_provider_kernel.operators.invocation import *",
        first="from airflow.sdk import DAG, BaseOperator",
    )
    foreign = packages(loaded) - {"airflow_provider_kernel", "airflow"} - sys.stdlib_module_names
    assert foreign == set()


#: What a DAG file loads that starts invocations.
STARTING = {
    "airflow_provider_kernel._compat",
    "airflow_provider_kernel.argument_checks",
    "airflow_provider_kernel.arguments",
    "airflow_provider_kernel.client",
    "airflow_provider_kernel.client.defaults",
    "airflow_provider_kernel.client.errors",
    "airflow_provider_kernel.client.late_names",
    "airflow_provider_kernel.client.log_group",
    "airflow_provider_kernel.client.safe_logger",
    "airflow_provider_kernel.client.redaction",
    "airflow_provider_kernel.client.sanitize",
    "airflow_provider_kernel.client.timestamps",
    "airflow_provider_kernel.client.unset",
    "airflow_provider_kernel.client.validation",
    "airflow_provider_kernel.connection_form",  # by airflow.sdk itself, which reads the provider's metadata
    "airflow_provider_kernel.invocation_arguments",
    "airflow_provider_kernel.lifecycle",
    "airflow_provider_kernel.lifecycle.names",
    "airflow_provider_kernel.links",
    "airflow_provider_kernel.links.kernel",
    "airflow_provider_kernel.operators",
    "airflow_provider_kernel.operators._links",
    "airflow_provider_kernel.operators._partial",
    "airflow_provider_kernel.operators._run",
    "airflow_provider_kernel.operators.base",
    "airflow_provider_kernel.operators.invocation",
    "airflow_provider_kernel.provider_info",
    "airflow_provider_kernel.templating",
    "airflow_provider_kernel.validation",
}
#: What it loads besides to end some.
ENDING = {
    "airflow_provider_kernel.client.resources",
    "airflow_provider_kernel.client.resources.invocations",
    "airflow_provider_kernel.client.resources.invocations.errors",
    "airflow_provider_kernel.client.resources.invocations.status",
    "airflow_provider_kernel.lifecycle.resource",
    "airflow_provider_kernel.operators.end_invocation",
}


@pytest.mark.parametrize(
    ("names", "modules"), [("KernelInvokeOperator", STARTING), ("*", STARTING | ENDING)], ids=["one", "all"]
)
def test_operators_load_neither_the_clients_nor_the_emulator(names, modules):
    assert ours(loaded_by(f"from airflow_provider_kernel.operators.invocation import {names}")) == modules


RESUMED = """
task = KernelInvokeOperator(task_id="t", app_name="shop", action_name="price", deferrable=True)
result = {"id": "i", "status": "succeeded", "output": "7"}
assert task.execute_complete({"ti": None}, {"invocation_id": "i", "invocation": result, "dashboard": None}) == 7
"""


def test_task_that_resumes_with_its_result_loads_neither_a_client_nor_a_model():
    loaded = loaded_by(
        RESUMED, first="from airflow_provider_kernel.operators.invocation import KernelInvokeOperator"
    )
    assert ours(loaded) == {
        "airflow_provider_kernel.client.json_encoding",
        "airflow_provider_kernel.client.resources",
        "airflow_provider_kernel.client.resources.invocations",
        "airflow_provider_kernel.client.resources.invocations.errors",
        "airflow_provider_kernel.client.resources.invocations.result",
        "airflow_provider_kernel.client.resources.invocations.state",
        "airflow_provider_kernel.client.resources.invocations.status",
        "airflow_provider_kernel.operators._success",
        "airflow_provider_kernel.owned",
        "airflow_provider_kernel.owned.carried_result",
        "airflow_provider_kernel.xcom",
    }


def test_dag_file_with_browser_tasks_loads_nothing_of_invocations():
    loaded = loaded_by("import airflow_provider_kernel.decorators.kernel_browser")
    assert [module for module in loaded if "invocation" in module] == []


def test_provider_discovery_loads_no_library():
    loaded = loaded_by("import airflow_provider_kernel; airflow_provider_kernel.get_provider_info()")
    assert packages(loaded) - {"airflow_provider_kernel"} - sys.stdlib_module_names == set()


def test_client_loads_nothing_of_airflow():
    loaded = loaded_by(
        "import airflow_provider_kernel.client.client;"
        "from airflow_provider_kernel.client.resources.invocations import flows, result, wait"
    )
    assert "airflow" not in packages(loaded)


def imported_by(path):
    """Yield the modules that a file imports, anywhere in it."""
    return _imported(ast.walk(ast.parse(path.read_text())))


def imported_first(path):
    """Yield the modules that are loaded with a file."""
    return _imported(ast.parse(path.read_text()).body)


def _imported(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def rows_of(module):
    return set(re.findall(r'"(Kernel\w+)": Arguments', Path(module.__file__).read_text()))


@pytest.mark.parametrize("rows", [invocation_arguments, browser_arguments], ids=lambda module: module.__name__)
def test_module_of_a_class_loads_the_row_of_its_arguments(rows):
    named = rows_of(rows)
    root = Path(airflow_provider_kernel.__file__).parent
    defined = {
        found: path
        for path in root.rglob("*.py")
        for found in re.findall(r"^class (Kernel\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert {name for name in named if rows.__name__ not in imported_first(defined[name])} == set()


def test_each_row_is_in_one_of_two_modules():
    assert rows_of(invocation_arguments) | rows_of(browser_arguments) == TABLE.keys()


def test_only_emulator_and_demo_import_the_modules_of_the_extra():
    root = Path(airflow_provider_kernel.__file__).parent
    files = {str(path.relative_to(root)): path for path in root.rglob("*.py")}
    importers = {name for name, path in files.items() if packages(imported_by(path)) & set(MODULES)}
    assert {name.partition("/")[0] for name in importers} == {"demo", "testing"}


def test_emulator_imports_nothing_of_the_client():
    root = Path(airflow_provider_kernel.__file__).parent
    imported = {name for path in (root / "testing").rglob("*.py") for name in imported_by(path)}
    ours = {name for name in imported if name.startswith("airflow_provider_kernel")}
    others = {name for name in ours if not name.startswith("airflow_provider_kernel.testing.")}
    assert others == {"airflow_provider_kernel.emulator_extra"}


def test_only_demo_and_cli_import_the_emulator():
    root = Path(airflow_provider_kernel.__file__).parent
    importers = {
        path.relative_to(root).parts[0]
        for path in root.rglob("*.py")
        if any(name.startswith("airflow_provider_kernel.testing") for name in imported_by(path))
    }
    assert importers == {"cli", "demo", "testing"}


def test_emulated_resources_import_few_other_resources():
    prefix = "airflow_provider_kernel.testing.resources."
    folder = Path(airflow_provider_kernel.__file__).parent / "testing" / "resources"
    crossings = set()
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        others = {
            name.removeprefix(prefix).partition(".")[0] for name in imported_by(path) if name.startswith(prefix)
        }
        crossings |= {(own, other) for other in others - {own} if own != "__init__"}
    # An invocation runs an action of a deployed app; a browser takes a place of the organisation, and may end with
    # an invocation.
    assert crossings == {("invocations", "apps"), ("browsers", "limits"), ("browsers", "invocations")}
