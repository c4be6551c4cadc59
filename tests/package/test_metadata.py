"""What Airflow reads about the provider, checked with Airflow's own schemas and commands."""

import json
import os
import subprocess
import sys
from importlib import import_module, resources
from importlib.metadata import entry_points

import jsonschema
import pytest

from airflow_provider_kernel import __version__, get_provider_info
from airflow_provider_kernel.api.config import KernelConfig
from airflow_provider_kernel.api.retry import RetryPolicy


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


def test_it_fits_the_schema_that_airflow_checks_it_with(info):
    schema = json.loads((resources.files("airflow") / "provider_info.schema.json").read_text())
    jsonschema.validate(info, schema)


def test_the_connection_form_fits_the_schema_of_provider_yaml(info):
    """The form is missing in the run-time schema; the one of provider.yaml has it."""
    whole = json.loads((resources.files("airflow") / "provider.yaml.schema.json").read_text())
    schema = {**whole["properties"]["connection-types"], "definitions": whole.get("definitions", {})}
    jsonschema.validate(info["connection-types"], schema)


def test_the_entry_point_leads_to_it():
    (point,) = (
        point
        for point in entry_points(group="apache_airflow_provider")
        if point.dist and point.dist.name == "airflow-provider-kernel"
    )
    assert point.load()() == get_provider_info()


def test_every_module_and_class_that_it_names_is_there(info):
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                import_module(module)
    for connection in info["connection-types"]:
        module, _, name = connection["hook-class-name"].rpartition(".")
        hook = getattr(import_module(module), name)
        assert hook.conn_type == connection["connection-type"]
        assert hook.hook_name == connection["hook-name"]


def test_the_decorator_and_the_notifier_that_it_names_are_there(info):
    named = [*info["notifications"], *(decorator["class-name"] for decorator in info["task-decorators"])]
    for path in named:
        module, _, name = path.rpartition(".")
        assert callable(getattr(import_module(module), name))
    assert [decorator["name"] for decorator in info["task-decorators"]] == ["kernel_invocation"]


def test_the_defaults_that_the_form_shows_are_the_ones_that_apply(info):
    (connection,) = info["connection-types"]
    shown = {name: field["schema"]["default"] for name, field in connection["conn-fields"].items()}
    applied = KernelConfig(api_key="k")
    assert shown["connect_timeout"] == applied.connect_timeout
    assert shown["read_timeout"] == applied.read_timeout
    assert shown["max_attempts"] == RetryPolicy().max_attempts
    assert shown["max_retry_seconds"] == RetryPolicy().max_seconds
    assert shown["verify_tls"] == "true"
    assert applied.verify_tls is True


def test_every_field_says_what_it_is_and_takes_null(info):
    (connection,) = info["connection-types"]
    for name, field in connection["conn-fields"].items():
        assert field["label"], name
        assert field["description"].endswith("."), name
        assert "null" in field["schema"]["type"], name


def test_airflow_gets_the_provider():
    (provider,) = airflow("providers", "get", "airflow-provider-kernel")
    assert provider["Provider"] == "airflow-provider-kernel"
    assert provider["Version"] == __version__


def test_airflow_lists_the_hook_and_can_import_it():
    hooks = {hook["connection_type"]: hook for hook in airflow("providers", "hooks")}
    assert hooks["kernel"]["class"] == "airflow_provider_kernel.hooks.kernel.KernelHook"
    assert hooks["kernel"]["conn_id_attribute_name"] == "kernel_conn_id"
    assert hooks["kernel"]["hook_name"] == "Kernel"
