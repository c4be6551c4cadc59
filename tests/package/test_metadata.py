"""What Airflow reads about the provider, checked with Airflow's own schemas and commands."""

import json
import os
import subprocess
import sys
from importlib import import_module, resources
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink
from airflow.triggers.base import BaseTrigger

import airflow_provider_kernel
from airflow_provider_kernel import __version__, get_provider_info
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.connection_form import EXTRA_FIELDS


def airflow(*arguments):
    """Run an Airflow command, in a home without a database, and read its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *arguments, "--output", "json"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
    )
    return json.loads(done.stdout[done.stdout.index("[") :])


@pytest.fixture(scope="module")
def info():
    return get_provider_info()


def test_provider_info_fits_the_schema_of_airflow(info):
    schema = json.loads((resources.files("airflow") / "provider_info.schema.json").read_text())
    jsonschema.validate(info, schema)


def test_provider_info_parts_fit_the_schema_of_provider_yaml(info):
    """That one is stricter; it also asks for what only Airflow's own repository has."""
    whole = json.loads((resources.files("airflow") / "provider.yaml.schema.json").read_text())
    for key, value in info.items():
        if key not in ("package-name", "versions"):
            jsonschema.validate(value, {**whole["properties"][key], "definitions": whole.get("definitions", {})})


def test_connection_form_fits_the_schema_of_provider_yaml(info):
    """The form is missing in the run-time schema; the one of provider.yaml has it."""
    whole = json.loads((resources.files("airflow") / "provider.yaml.schema.json").read_text())
    schema = {**whole["properties"]["connection-types"], "definitions": whole.get("definitions", {})}
    jsonschema.validate(info["connection-types"], schema)


def test_entry_point_returns_the_provider_info():
    (point,) = (
        point
        for point in entry_points(group="apache_airflow_provider")
        if point.dist and point.dist.name == "airflow-provider-kernel"
    )
    assert point.load()() == get_provider_info()


def test_provider_info_names_existing_modules_and_classes(info):
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                import_module(module)
    for link in info["extra-links"]:
        module, _, name = link.rpartition(".")
        assert issubclass(getattr(import_module(module), name), BaseOperatorLink)
    for connection in info["connection-types"]:
        module, _, name = connection["hook-class-name"].rpartition(".")
        hook = getattr(import_module(module), name)
        assert hook.conn_type == connection["connection-type"]
        assert hook.hook_name == connection["hook-name"]


def members(module):
    """Give what a module holds, and what it loads at its first use."""
    return [getattr(module, name) for name in dir(module)]


def classes(info, *kinds):
    """Give the public classes that are to be imported from the modules of some kinds."""
    for kind in kinds:
        for entry in info[kind]:
            for name in entry["python-modules"]:
                module = import_module(name)
                exported = getattr(module, "__all__", ())
                for found in members(module):
                    if isinstance(found, type) and (found.__module__ == name or found.__name__ in exported):
                        yield found


def test_provider_info_names_every_public_class(info):
    root = Path(airflow_provider_kernel.__file__).parent
    named = {
        module
        for kind in ("hooks", "operators", "sensors", "triggers")
        for entry in info[kind]
        for module in entry["python-modules"]
    }
    bases = {"operators": BaseOperator, "sensors": BaseOperator, "triggers": BaseTrigger, "hooks": BaseHook}
    for kind, base in bases.items():
        for file in (root / kind).glob("*.py"):
            name = f"airflow_provider_kernel.{kind}.{file.stem}"
            public = [
                found
                for found in vars(import_module(name)).values()
                if isinstance(found, type)
                and issubclass(found, base)
                and found.__module__ == name
                and not found.__name__.startswith("_")
                and found.__name__ != "KernelBaseOperator"
            ]
            shown = {found for module in named for found in members(import_module(module)) if found in public}
            assert set(public) == shown, name


def test_links_of_all_operators_are_among_the_extra_links(info):
    for operator in classes(info, "operators", "sensors"):
        if not issubclass(operator, BaseOperator) or isinstance(operator.operator_extra_links, property):
            continue
        for link in operator.operator_extra_links:
            assert f"{type(link).__module__}.{type(link).__name__}" in info["extra-links"]


def test_logo_is_an_svg_of_the_package(info):
    (integration,) = info["integrations"]
    logo = resources.files("airflow_provider_kernel") / integration["logo"].lstrip("/")
    drawing = ElementTree.fromstring(logo.read_text())  # noqa: S314 (our own file)
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert {element.tag.rpartition("}")[2] for element in drawing.iter()} <= {"svg", "rect", "path", "circle"}
    assert len(logo.read_text()) < 4096


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_operator_colours_are_unique_and_legible(info):
    operators = {found for found in classes(info, "operators", "sensors") if issubclass(found, BaseOperator)}
    assert len(operators) == 9
    assert len({operator.ui_color for operator in operators}) == len(operators)
    for operator in operators:
        contrast = (luminance(operator.ui_color) + 0.05) / (luminance(operator.ui_fgcolor) + 0.05)
        assert contrast > 7, operator.__name__


def test_json_template_fields_are_rendered_as_json(info):
    for operator in classes(info, "operators", "sensors"):
        if issubclass(operator, BaseOperator):
            json_fields = {"payload", "invocation_output"} & set(operator.template_fields)
            assert dict(operator.template_fields_renderers).items() >= dict.fromkeys(json_fields, "json").items()


def test_airflow_serves_the_connection_form(info):
    """What ``GET /ui/connections/hook_meta`` answers."""
    (served,) = (m for m in HookMetaService.hook_meta_data() if m.connection_type == "kernel")
    fields = served.standard_fields
    assert (fields.login.hidden, fields.url_schema.hidden) == (True, True)
    assert (fields.password.title, fields.host.title) == ("API key", "Base URL")
    for field in (fields.host, fields.port, fields.password):
        assert not field.hidden
        assert field.placeholder
    assert list(served.extra_fields) == [field.name for field in EXTRA_FIELDS]
    for field in EXTRA_FIELDS:
        shown = served.extra_fields[field.name]
        assert shown["description"] == field.description
        assert shown["value"] == field.default
        schema = shown["schema"]
        assert (schema["title"], schema["type"]) == (field.label, [field.type, "null"])
        assert (schema.get("minimum"), schema.get("maximum")) == (field.minimum, field.maximum)


def test_provider_info_names_existing_decorators_and_notifiers(info):
    named = [*info["notifications"], *(decorator["class-name"] for decorator in info["task-decorators"])]
    for path in named:
        module, _, name = path.rpartition(".")
        assert callable(getattr(import_module(module), name))
    assert [decorator["name"] for decorator in info["task-decorators"]] == ["kernel_browser", "kernel_invocation"]


def test_connection_form_shows_the_defaults_that_apply(info):
    (connection,) = info["connection-types"]
    shown = {name: field["schema"]["default"] for name, field in connection["conn-fields"].items()}
    applied = KernelConfig(api_key="sk-test-key")
    assert shown["connect_timeout"] == applied.connect_timeout
    assert shown["read_timeout"] == applied.read_timeout
    assert shown["max_attempts"] == RetryPolicy().max_attempts
    assert shown["max_retry_seconds"] == RetryPolicy().max_seconds
    assert shown["dashboard_url"] == applied.dashboard_url
    assert shown["verify_tls"] is None
    assert applied.verify_tls is True


def test_connection_form_fields_have_descriptions_and_accept_null(info):
    (connection,) = info["connection-types"]
    for name, field in connection["conn-fields"].items():
        assert field["label"], name
        assert field["description"].endswith("."), name
        assert "null" in field["schema"]["type"], name


def test_airflow_shows_the_provider():
    (provider,) = airflow("providers", "get", "airflow-provider-kernel")
    assert provider["Provider"] == "airflow-provider-kernel"
    assert provider["Version"] == __version__


def test_airflow_lists_the_hook_and_can_import_it():
    hooks = {hook["connection_type"]: hook for hook in airflow("providers", "hooks")}
    assert hooks["kernel"]["class"] == "airflow_provider_kernel.hooks.kernel.KernelHook"
    assert hooks["kernel"]["conn_id_attribute_name"] == "kernel_conn_id"
    assert hooks["kernel"]["hook_name"] == "Kernel"


def test_airflow_lists_the_trigger_and_the_links():
    assert "airflow_provider_kernel.triggers.invocation" in str(airflow("providers", "triggers"))
    links = str(airflow("providers", "links"))
    assert "airflow_provider_kernel.links.kernel.KernelDashboardLink" in links
    assert "airflow_provider_kernel.links.kernel.KernelLiveViewLink" in links
