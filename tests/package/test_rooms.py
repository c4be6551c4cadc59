"""Which room of the package may import which, read from the source."""

import ast
from pathlib import Path

import pytest

import airflow_provider_kernel

ROOT = Path(airflow_provider_kernel.__file__).parent
PACKAGE = "airflow_provider_kernel"
RESOURCES = "client.resources"

#: What Airflow loads by name, and what joins resources and the lifecycle.
UPPER_ROOMS = (
    "callbacks",
    "decorators",
    "demo",
    "links",
    "notifications",
    "operators",
    "owned",
    "sensors",
    "triggers",
)


def modules(room):
    """Return the modules of a room, by their name below the package."""
    files = [ROOT / f"{room}.py"] if (ROOT / f"{room}.py").exists() else (ROOT / room).rglob("*.py")
    return {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in files}


def imports(path):
    """Return what a module imports, anywhere in it: names of this package without its prefix."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return {name.removeprefix(f"{PACKAGE}.") for name in names}


def crossings(room, forbidden):
    """Return the imports of a room that lead into a forbidden one."""
    return {
        (name, imported)
        for name, path in modules(room).items()
        for imported in imports(path)
        if any(f"{imported}.".startswith(f"{prefix}.") for prefix in forbidden)
    }


def test_client_imports_neither_airflow_nor_another_room():
    rooms = {path.name.removesuffix(".py") for path in ROOT.iterdir() if path.suffix in ("", ".py")} - {"client"}
    assert crossings("client", {"airflow", *rooms}) == set()


def test_http_imports_no_resource():
    assert crossings("client/http", {RESOURCES}) == set()


def test_only_one_module_imports_httpx():
    assert {name for name, _ in crossings(".", {"httpx"})} == {"client.http.transport"}


@pytest.mark.parametrize(
    "resource",
    sorted(path.name.removesuffix(".py") for path in (ROOT / "client/resources").iterdir() if path.name[0] != "_"),
)
def test_resource_imports_no_other_resource(resource):
    others = {path.name.removesuffix(".py") for path in (ROOT / "client/resources").iterdir()} - {resource}
    found = crossings(f"client/resources/{resource}", {f"{RESOURCES}.{other}" for other in others})
    if resource == "browser_pools":  # a lease on a pooled browser is a browser
        found = {pair for pair in found if not pair[1].startswith(f"{RESOURCES}.browsers.models.")}
    assert found == set()


def test_lifecycle_imports_no_resource_and_nothing_that_is_built_on_it():
    assert crossings("lifecycle", {RESOURCES, *UPPER_ROOMS}) == set()


def test_hooks_import_nothing_that_is_built_on_them():
    assert crossings("hooks", set(UPPER_ROOMS)) == set()


def test_import_rules_see_imports_inside_functions_and_of_submodules(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(f"def f():\n    from {PACKAGE} import callbacks\n    import {PACKAGE}.operators.base\n")
    assert imports(file) == {"callbacks", "operators.base"}
