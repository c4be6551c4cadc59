"""The description of browsers as schemathesis gets it: what the emulator has, with what its prose says."""

from __future__ import annotations

from typing import Any

import yaml
from conformance.prism import BROWSERS

#: What the emulator does not have; scripts and commands, whose failures are a 500 by Kernel's own rules; replays,
#: which can be read after the end of their browser; and uploads, whose form schemathesis cannot make.
_LEFT_OUT = ("/playwright/", "/repl/", "/process/", "/logs/", "/curl/", "/replays/", "/fs/upload")
#: Operations that take the id that a create answers with.
_BY_ID = (
    "getBrowsersByIdOrName",
    "patchBrowsersByIdOrName",
    "deleteBrowsersByIdOrName",
    "putBrowsersByIdFsWriteFile",
    "putBrowsersByIdFsCreateDirectory",
    "postBrowsersByIdComputerScreenshot",
)


def amended() -> dict[str, Any]:
    """Read the description, and amend it."""
    document: dict[str, Any] = yaml.safe_load(BROWSERS.read_text())
    paths, components = document["paths"], document["components"]
    for path in list(paths):
        if not path.startswith("/browsers") or any(part in f"{path}/" for part in _LEFT_OUT):
            del paths[path]

    # It asks for a key everywhere, but tells of some answers in some places only.
    for operations in paths.values():
        for operation in operations.values():
            for status, name in (("400", "BadRequest"), ("401", "Unauthorized"), ("404", "NotFound")):
                operation["responses"].setdefault(status, {"$ref": f"#/components/responses/{name}"})

    schemas = components["schemas"]
    # A picture has a size, and a path no zero byte.
    for side in ("width", "height"):
        schemas["ScreenshotRegion"]["properties"][side].update(minimum=1, maximum=10_000)
    paths_of_files = [
        schemas[name]["properties"]["path"] for name in ("CreateDirectoryRequest", "DeletePathRequest")
    ]
    for operations in paths.values():
        for operation in operations.values():
            parameters = operation.get("parameters", ())
            paths_of_files += [each["schema"] for each in parameters if each["name"] == "path"]
    for schema in paths_of_files:
        schema["pattern"] = "^/[^\\x00]*$"
    # Only a browser without a profile takes one.
    del schemas["BrowserUpdateRequest"]["properties"]["profile"]
    # No invocation to tie a browser to is known here.
    del schemas["BrowserRequest"]["properties"]["invocation_id"]
    # One form of proxy excludes the other.
    del schemas["BrowserRequest"]["properties"]["proxy_id"]

    parameters = {"id_or_name": "$response.body#/session_id"}
    links = {name: {"operationId": name, "parameters": parameters} for name in _BY_ID}
    paths["/browsers"]["post"]["responses"]["200"]["links"] = links
    return document
