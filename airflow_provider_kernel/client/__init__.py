"""
A client of the Kernel API, usable without Airflow.

::

    from airflow_provider_kernel.client import KernelClient, KernelConfig
    from airflow_provider_kernel.client.resources.invocations import requests

    with KernelClient(KernelConfig("sk-...")) as client:
        invocation = client.send(requests.get_invocation("..."))

Why not the official SDK: by default it resends every request that failed, creates included, and a create that is
sent twice may start two runs. Here each request carries its own rule for resending.

Names are imported at their first use: a DAG file that needs an error class loads no models and no HTTP library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_kernel.client.late_names import late_names

if TYPE_CHECKING:
    from airflow_provider_kernel.client.client import (
        AsyncKernelClient as AsyncKernelClient,
        KernelClient as KernelClient,
    )
    from airflow_provider_kernel.client.config import KernelConfig as KernelConfig
    from airflow_provider_kernel.client.destination import (
        ConnectionProblem as ConnectionProblem,
        Destination as Destination,
    )
    from airflow_provider_kernel.client.errors import (
        KernelAmbiguousStartError as KernelAmbiguousStartError,
        KernelAPIError as KernelAPIError,
        KernelAuthenticationError as KernelAuthenticationError,
        KernelBadRequestError as KernelBadRequestError,
        KernelConfigurationError as KernelConfigurationError,
        KernelConfigurationUnavailableError as KernelConfigurationUnavailableError,
        KernelConflictError as KernelConflictError,
        KernelConnectionError as KernelConnectionError,
        KernelError as KernelError,
        KernelInputError as KernelInputError,
        KernelInvocationKilledError as KernelInvocationKilledError,
        KernelLostContactError as KernelLostContactError,
        KernelNotFoundError as KernelNotFoundError,
        KernelPermissionError as KernelPermissionError,
        KernelRateLimitError as KernelRateLimitError,
        KernelResponseError as KernelResponseError,
        KernelResponseTooLargeError as KernelResponseTooLargeError,
        KernelRowTooLargeError as KernelRowTooLargeError,
        KernelServerError as KernelServerError,
        KernelTaskKilledError as KernelTaskKilledError,
        KernelTimeoutError as KernelTimeoutError,
    )
    from airflow_provider_kernel.client.flow import (
        Flow as Flow,
        Sleep as Sleep,
    )
    from airflow_provider_kernel.client.http.pagination import Page as Page
    from airflow_provider_kernel.client.http.request import Request as Request
    from airflow_provider_kernel.client.resources.apps import (
        AppAction as AppAction,
        AppVersion as AppVersion,
    )
    from airflow_provider_kernel.client.resources.auth import AuthContext as AuthContext
    from airflow_provider_kernel.client.resources.browsers.errors import (
        KernelBrowserGoneError as KernelBrowserGoneError,
        KernelBrowserLimitError as KernelBrowserLimitError,
        KernelCommandTimeoutError as KernelCommandTimeoutError,
        KernelScriptError as KernelScriptError,
    )
    from airflow_provider_kernel.client.resources.browsers.models import (
        BrowserSession as BrowserSession,
        CommandResult as CommandResult,
        FileInfo as FileInfo,
        Replay as Replay,
        ScriptResult as ScriptResult,
    )
    from airflow_provider_kernel.client.resources.invocations.browser_models import (
        Browser as Browser,
        BrowserList as BrowserList,
    )
    from airflow_provider_kernel.client.resources.invocations.errors import (
        KernelInvocationFailedError as KernelInvocationFailedError,
        KernelInvocationFinishedError as KernelInvocationFinishedError,
        KernelInvocationTimeoutError as KernelInvocationTimeoutError,
        KernelOutputError as KernelOutputError,
        KernelOutputTooLargeError as KernelOutputTooLargeError,
    )
    from airflow_provider_kernel.client.resources.invocations.event_models import (
        Event as Event,
        Heartbeat as Heartbeat,
        LogLine as LogLine,
        StateChange as StateChange,
        StreamError as StreamError,
        UnknownEvent as UnknownEvent,
    )
    from airflow_provider_kernel.client.resources.invocations.models import Invocation as Invocation
    from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus as InvocationStatus
    from airflow_provider_kernel.client.resources.limits import OrgLimits as OrgLimits
    from airflow_provider_kernel.client.retry import (
        Attempts as Attempts,
        Resend as Resend,
        RetryPolicy as RetryPolicy,
    )
    from airflow_provider_kernel.client.unset import UNSET as UNSET

#: Where each public name is defined, below this package. Type checkers read the block above.
_PUBLIC = {
    "client": "AsyncKernelClient KernelClient",
    "config": "KernelConfig",
    "destination": "ConnectionProblem Destination",
    "errors": (
        "KernelAPIError KernelAmbiguousStartError KernelAuthenticationError "
        "KernelBadRequestError KernelConfigurationError KernelConfigurationUnavailableError "
        "KernelConflictError KernelConnectionError KernelError KernelInputError KernelInvocationKilledError "
        "KernelLostContactError KernelNotFoundError KernelPermissionError KernelRateLimitError "
        "KernelResponseError KernelResponseTooLargeError KernelRowTooLargeError KernelServerError "
        "KernelTaskKilledError KernelTimeoutError"
    ),
    "flow": "Flow Sleep",
    "http.pagination": "Page",
    "http.request": "Request",
    "resources.apps": "AppAction AppVersion",
    "resources.auth": "AuthContext",
    "resources.browsers.errors": (
        "KernelBrowserGoneError KernelBrowserLimitError KernelCommandTimeoutError KernelScriptError"
    ),
    "resources.browsers.models": "BrowserSession CommandResult FileInfo Replay ScriptResult",
    "resources.invocations.errors": (
        "KernelInvocationFailedError KernelInvocationFinishedError KernelInvocationTimeoutError "
        "KernelOutputError KernelOutputTooLargeError"
    ),
    "resources.invocations.event_models": "Event Heartbeat LogLine StateChange StreamError UnknownEvent",
    "resources.invocations.browser_models": "Browser BrowserList",
    "resources.invocations.models": "Invocation",
    "resources.invocations.status": "InvocationStatus",
    "resources.limits": "OrgLimits",
    "retry": "Attempts Resend RetryPolicy",
    "unset": "UNSET",
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _PUBLIC.items() for name in names.split()}

__all__ = sorted(_HOMES)
if not TYPE_CHECKING:  # else a name that does not exist would pass
    __getattr__, __dir__ = late_names(globals(), _HOMES)
