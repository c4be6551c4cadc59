"""The form of the connection, as the hook gives it to Airflow 3.1. Later versions read it from the metadata."""

from __future__ import annotations

import sys
from types import SimpleNamespace

from airflow_provider_kernel import connection_form
from airflow_provider_kernel.hooks.kernel import KernelHook


def test_hook_names_its_connection_type():
    assert (KernelHook.conn_type, KernelHook.hook_name) == ("kernel", "Kernel")
    assert (KernelHook.conn_name_attr, KernelHook.default_conn_name) == ("kernel_conn_id", "kernel_default")
    assert KernelHook().kernel_conn_id == "kernel_default"


def test_hook_form_has_the_standard_fields_of_the_metadata():
    assert KernelHook.get_ui_field_behaviour() == {
        "hidden_fields": ["schema", "login", "extra"],
        "relabeling": connection_form.RELABELING,
        "placeholders": connection_form.PLACEHOLDERS,
    }


def test_hook_form_has_the_widgets_of_the_metadata(monkeypatch):
    def kind(name):
        return lambda label, **options: SimpleNamespace(kind=name, label=label, **options)

    fake = SimpleNamespace(StringField=kind("string"), IntegerField=kind("integer"))
    monkeypatch.setitem(sys.modules, "wtforms", fake)
    widgets = KernelHook.get_connection_form_widgets()
    fields = connection_form.conn_fields()
    assert list(widgets) == list(fields)
    for name, widget in widgets.items():
        assert widget.label == fields[name]["label"]
        assert widget.description == fields[name]["description"]
        default = fields[name]["schema"]["default"]
        assert widget.default == (str(default) if "number" in fields[name]["schema"]["type"] else default)
        assert (widget.kind == "integer") == ("integer" in fields[name]["schema"]["type"])
