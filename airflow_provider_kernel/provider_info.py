"""The provider's metadata. Every Airflow process reads it at its start, so it imports nothing heavy."""

from __future__ import annotations

from typing import Any

#: The section ``[kernel]`` of Airflow's configuration.
_CONFIG: dict[str, Any] = {
    "description": "Settings of the provider for Kernel.",
    "options": {
        "max_streams": {
            "description": (
                "Max open log streams of deferred tasks in a triggerer; each takes a file descriptor. "
                "Further invocations are streamed when another stream ends, or when they end "
                "themselves. With 0, all lines are fetched after an invocation has ended."
            ),
            "version_added": "0.1.0",
            "type": "integer",
            "example": None,
            "default": "250",
        },
        "min_deferral": {
            "description": (
                "Min seconds between the deferral of a task and the event of its trigger, and between two pokes of "
                "a sensor in reschedule mode. Airflow's scheduler fails a task that is queued again before it has "
                "noticed the end of the process which deferred. A loaded scheduler may need more."
            ),
            "version_added": "0.1.0",
            "type": "float",
            "example": None,
            "default": "10.0",
        },
    },
}

_INTEGRATION = "Kernel"
#: The modules of each kind, as Airflow names the kinds.
_MODULES = {
    "hooks": ["airflow_provider_kernel.hooks.kernel"],
    "operators": [
        "airflow_provider_kernel.operators.browser",
        "airflow_provider_kernel.operators.invocation",
        "airflow_provider_kernel.operators.invocation_task",
        "airflow_provider_kernel.operators.orphans",
        "airflow_provider_kernel.operators.playwright",
    ],
    "sensors": ["airflow_provider_kernel.sensors.invocation"],
    "triggers": [
        "airflow_provider_kernel.triggers.finished",
        "airflow_provider_kernel.triggers.invocation",
    ],
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata for the entry point ``apache_airflow_provider``."""
    from airflow_provider_kernel import __version__
    from airflow_provider_kernel.connection_form import conn_fields, ui_field_behaviour

    return {
        "package-name": "airflow-provider-kernel",
        "name": "Kernel",
        "description": (
            "`Kernel <https://www.kernel.sh/>`__: cloud browsers for AI agents, and the apps that drive them."
        ),
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://www.kernel.sh/docs",
                # Drawn for this package; see the folder integration-logos.
                "logo": "/integration-logos/airflow-provider-kernel.svg",
                "tags": ["service", "ai"],
            }
        ],
        **{
            kind: [{"integration-name": _INTEGRATION, "python-modules": modules}]
            for kind, modules in _MODULES.items()
        },
        "notifications": ["airflow_provider_kernel.notifications.kernel.KernelInvocationNotifier"],
        "task-decorators": [
            {
                "name": "kernel_browser",
                "class-name": "airflow_provider_kernel.decorators.kernel_browser.kernel_browser_task",
            },
            {
                "name": "kernel_invocation",
                "class-name": "airflow_provider_kernel.decorators.kernel_invocation.kernel_invocation_task",
            },
        ],
        "extra-links": [
            "airflow_provider_kernel.links.kernel.KernelDashboardLink",
            "airflow_provider_kernel.links.kernel.KernelLiveViewLink",
        ],
        "config": {"kernel": _CONFIG},
        "connection-types": [
            {
                "connection-type": "kernel",
                "hook-class-name": "airflow_provider_kernel.hooks.kernel.KernelHook",
                "hook-name": "Kernel",
                "conn-fields": conn_fields(),
                "ui-field-behaviour": ui_field_behaviour(),
            }
        ],
    }
