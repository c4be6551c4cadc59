"""
The app `demo` that every emulator has.

An action takes the keys that its docstring names, and any key that begins with `_`, such as the mark of a
`correlation_key`. Another key fails the invocation: a misspelled one would be the default.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.testing.resources.invocations.actions import ActionError

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.resources.apps import Apps
    from airflow_provider_kernel.testing.resources.invocations.actions import ActionContext

APP_NAME = "demo"


def echo(ctx: ActionContext, payload: Any) -> Any:
    """Return the payload."""
    return payload


def sleep(ctx: ActionContext, payload: Any) -> Any:
    """Wait for `seconds` emulated seconds."""
    seconds = _options(ctx, payload, "seconds").get("seconds", 1)
    ctx.wait(seconds)
    return {"slept": seconds}


def fail(ctx: ActionContext, payload: Any) -> Any:
    """Fail with `message`, as plain text if `plain` is true, else as JSON."""
    options = _options(ctx, payload, "message", "plain")
    message = str(options.get("message", "failed as asked"))
    ctx.log(message)
    raise ActionError(message, output=message if options.get("plain") else json.dumps({"error": message}))


def logs(ctx: ActionContext, payload: Any) -> Any:
    """Write `lines` log lines that begin with `message`, at `per_second` lines per emulated second."""
    options = _options(ctx, payload, "lines", "message", "per_second")
    lines = int(options.get("lines", 10))
    rate = options.get("per_second")
    for number in range(1, lines + 1):
        ctx.log(f"{options.get('message', 'line')} {number}")
        if rate and number < lines and ctx.wait(1 / rate):
            break
    return {"lines": lines}


def browsers(ctx: ActionContext, payload: Any) -> Any:
    """Open `count` browsers and keep them open for `seconds` emulated seconds."""
    options = _options(ctx, payload, "count", "seconds")
    sessions = [ctx.create_browser()["session_id"] for _ in range(int(options.get("count", 1)))]
    ctx.wait(options.get("seconds", 1))
    return {"sessions": sessions}


def hang(ctx: ActionContext) -> Any:
    """Wait until the invocation is ended from outside."""
    ctx.wait()


def install(apps: Apps) -> None:
    """Deploy the app."""
    for action in (echo, sleep, fail, logs, browsers, hang):
        apps.register(APP_NAME, action.__name__, action)


def _options(ctx: ActionContext, payload: Any, *known: str) -> dict[str, Any]:
    if payload is None:
        return {}
    if not isinstance(payload, dict):
        raise _refused(ctx, f"the payload is {payload!r}; this action takes a JSON object of {', '.join(known)}")
    unknown = [name for name in payload if name not in known and not name.startswith("_")]
    if unknown:
        named = ", ".join(map(repr, unknown))
        raise _refused(ctx, f"the payload has {named}; this action takes {', '.join(known)}")
    return payload


def _refused(ctx: ActionContext, why: str) -> TypeError:
    """Log why, as an app would: a task shows the log of an invocation, and not its output."""
    ctx.log(why)
    return TypeError(why)
