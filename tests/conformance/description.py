"""Kernel's API description as schemathesis gets it: with what its prose says, and its schemas leave out."""

from __future__ import annotations

from typing import Any

import yaml
from conformance.prism import KERNEL

#: What `since` takes, as its description has it.
_SINCE = {"anyOf": [{"format": "date-time"}, {"pattern": r"^[1-9][0-9]{0,3}(ms|s|m|h)$"}]}
#: Names that are there, so that not every create is a 404.
_THERE = {
    "app_name": {"const": "demo"},
    "version": {"const": "latest"},
    "action_name": {"enum": ["echo", "sleep", "fail", "logs", "browsers", "hang"]},
}
#: Operations that take the id that a create answers with.
_BY_ID = (
    "getInvocationsById",
    "patchInvocationsById",
    "getInvocationsBrowsersById",
    "deleteInvocationsBrowsersById",
    "getInvocationsEventsById",
)


def amended() -> dict[str, Any]:
    """Read the description, and amend it."""
    document: dict[str, Any] = yaml.safe_load(KERNEL.read_text())
    paths, components = document["paths"], document["components"]
    for path in list(paths):
        if not path.startswith(("/invocations", "/apps", "/auth")):
            del paths[path]  # what the emulator does not have

    # It asks for a key everywhere, but tells of a 401 in some places only; /apps has parameters, but no 400.
    for operations in paths.values():
        for operation in operations.values():
            operation["responses"].setdefault("401", {"$ref": "#/components/responses/Unauthorized"})
    paths["/apps"]["get"]["responses"]["400"] = {"$ref": "#/components/responses/BadRequest"}

    components["parameters"]["Since"]["schema"].update(_SINCE)
    for parameter in paths["/invocations"]["get"]["parameters"]:
        if parameter.get("name") == "since":
            parameter["schema"].update(_SINCE)
    request = components["schemas"]["InvokeRequest"]
    for name, example in {"app_name": "demo", "version": "latest", "action_name": "echo"}.items():
        # A name that is empty names nothing; and what is there makes a better example.
        request["properties"][name].update(minLength=1, example=example)
    request["anyOf"] = [{"properties": _THERE}, {}]

    # The schema is that of the data, which is JSON in text; schemathesis looks at the whole event.
    stream = paths["/invocations/{id}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": stream["schema"]}
    stream["schema"] = {"type": "object", "properties": {"data": data}, "required": ["data"]}

    # The emulator runs asynchronous invocations only.
    request["properties"]["async"]["const"] = True
    request["required"].append("async")
    del paths["/invocations"]["post"]["responses"]["200"]

    links = {name: {"operationId": name, "parameters": {"id": "$response.body#/id"}} for name in _BY_ID}
    paths["/invocations"]["post"]["responses"]["202"]["links"] = links
    return document
