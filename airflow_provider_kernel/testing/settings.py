"""Settings: the switches for everything that Kernel's documentation leaves open."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

PatchOnFinished = Literal["unchanged", "overwrite", 400, 404, 409]
ListOrder = Literal["newest", "oldest"]
VersionInResponse = Literal["label", "resolved"]
NoneOutput = Literal["null", "absent"]
LogsWithoutSince = Literal["live", "all"]

PAYLOAD_4_5_MB = 4_500_000
PAYLOAD_64_KB = 65_536


@dataclass
class Switches:
    """
    Behaviour where Kernel's documentation is silent or contradicts itself.

    May be changed while the emulator runs: `kernel.switches.patch_on_finished = 409`.

    :param patch_on_finished: what PATCH does to a finished invocation: `"unchanged"` answers 200 and changes
        nothing, `"overwrite"` answers 200 and replaces the result, 400, 404 or 409 refuse it.
    :param patch_failed_ends_browsers: whether PATCH `failed` deletes the invocation's browsers.
    :param patch_succeeded_ends_browsers: whether PATCH `succeeded` deletes the invocation's browsers.
    :param patch_stops_code: whether PATCH stops the action's code, or only detaches it: detached code
        continues, may open more browsers, and its result is dropped.
    :param run_end_ends_browsers: whether browsers are deleted when the action returns, raises or times out.
    :param patch_output_must_be_json: whether PATCH refuses an `output` that is not JSON.
    :param payload_limit_bytes: max size of a payload; `PAYLOAD_4_5_MB` and `PAYLOAD_64_KB` are documented.
    :param payload_must_be_json: whether create refuses a payload that is neither JSON nor empty.
    :param unknown_fields_refused: whether a request body with an unknown field is a 400.
    :param output_of_none: the output of an action that returns None: `null`, or absent.
    :param version_in_response: whether `version` is the label of the request, or the version it resolves to.
    :param queue_seconds: emulated seconds in the status `queued`; `math.inf` for ever.
    :param list_order: order of GET /invocations by start.
    :param since_inclusive: whether `since` includes exactly that time.
    :param logs_without_since: whether an event stream without `since` sends only new log lines, or all.
    :param heartbeat_seconds: real seconds of silence before an `sse_heartbeat`; None sends none.
    :param max_concurrent: max invocations that are queued or running; None for no limit.
    :param max_concurrent_per_app: the same for each app.
    :param retry_after: the `Retry-After` seconds of a concurrency 429; None leaves the header out.
    :param capacity_exhausted: whether every create is a 529.
    :param browser_visible_after: emulated seconds for which no request finds a new browser session.
    :param browser_list_lag: emulated seconds by which GET /browsers is behind: new sessions are missing, and ended
        ones active.
    :param browser_name_free_after: emulated seconds after the end of a browser session for which its name is taken.
    :param browser_usage_after: emulated seconds after the end of a browser session until its usage is final.
    :param profile_save_seconds: emulated seconds that saving a profile takes: DELETE answers after them, and until
        then the session is gone, but its name and its place are taken.
    :param replay_seconds: emulated seconds until a replay that was stopped can be fetched.
    :param cdp_open_after_delete: whether DevTools connections stay open when their session ends.
    :param not_found_code: `code` of a 404 body.
    :param project_not_found_code: `code` of a 404 body about a project; documented.
    :param concurrency_code: `code` of a concurrency 429 body.
    :param rate_limit_code: `code` of any other 429 body, such as a fault's.
    :param capacity_code: `code` of a 529 body.
    :param conflict_code: `code` of a 409 body.
    :param reason_failed: `status_reason` of an invocation whose action raised.
    :param reason_patched: `status_reason` of an invocation that PATCH ended as failed.
    :param reason_timeout: `status_reason` of an invocation that timed out; `{seconds}` is replaced.
    """

    patch_on_finished: PatchOnFinished = "unchanged"
    patch_failed_ends_browsers: bool = True
    patch_succeeded_ends_browsers: bool = True
    patch_stops_code: bool = True
    run_end_ends_browsers: bool = True
    patch_output_must_be_json: bool = False
    payload_limit_bytes: int = PAYLOAD_4_5_MB
    payload_must_be_json: bool = True
    unknown_fields_refused: bool = True
    output_of_none: NoneOutput = "null"
    version_in_response: VersionInResponse = "label"
    queue_seconds: float = 0.0
    list_order: ListOrder = "newest"
    since_inclusive: bool = True
    logs_without_since: LogsWithoutSince = "live"
    heartbeat_seconds: float | None = 15.0
    max_concurrent: int | None = None
    max_concurrent_per_app: int | None = None
    retry_after: int | None = 1
    capacity_exhausted: bool = False
    browser_visible_after: float = 0.0
    browser_list_lag: float = 0.0
    browser_name_free_after: float = 0.0
    browser_usage_after: float = 0.0
    profile_save_seconds: float = 0.0
    replay_seconds: float = 0.0
    cdp_open_after_delete: bool = False
    not_found_code: str = "not_found"
    project_not_found_code: str = "project_not_found"
    concurrency_code: str = "concurrency_limit_exceeded"
    rate_limit_code: str = "too_many_requests"
    capacity_code: str = "capacity_exhausted"
    conflict_code: str = "conflict"
    reason_failed: str = "The action failed"
    reason_patched: str = "The invocation was ended by an API request"
    reason_timeout: str = "The invocation timed out after {seconds} seconds"

    _CHOICES: ClassVar[dict[str, tuple[Any, ...]]] = {
        "patch_on_finished": get_args(PatchOnFinished),
        "list_order": get_args(ListOrder),
        "version_in_response": get_args(VersionInResponse),
        "output_of_none": get_args(NoneOutput),
        "logs_without_since": get_args(LogsWithoutSince),
    }

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse unknown switches and invalid values."""
        kinds = {field.name: field.type for field in fields(self)}
        if name not in kinds:
            raise AttributeError(f"there is no switch {name!r}; the switches are {', '.join(sorted(kinds))}")
        choices = self._CHOICES.get(name)
        if choices is not None and value not in choices:
            allowed = ", ".join(repr(choice) for choice in choices)
            raise ValueError(f"switch {name} is {value!r}; it must be one of {allowed}")
        if kinds[name] == "bool" and not isinstance(value, bool):
            raise ValueError(f"switch {name} is {value!r}; it must be True or False")
        if isinstance(value, (int, float)) and (math.isnan(value) or value < 0):
            raise ValueError(f"switch {name} is {value!r}; it must be 0 or more")
        object.__setattr__(self, name, value)
