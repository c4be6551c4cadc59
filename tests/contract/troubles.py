"""What can happen to a request, by name; each test takes a new fault of it."""

from __future__ import annotations

from airflow_provider_kernel.testing import Fault

ERROR_PAGE = "<html><body><h1>Something is wrong</h1></body></html>"

#: The server says that it did nothing, and to come back.
REFUSALS = {
    "429": {"status": 429},
    "429 with Retry-After": {"status": 429, "headers": {"Retry-After": "1"}},
    "503 with Retry-After": {"status": 503, "headers": {"Retry-After": "1"}, "body": ERROR_PAGE},
    "529": {"status": 529},
    "529 with Retry-After": {"status": 529, "headers": {"Retry-After": "1"}},
}

#: Nobody can tell whether the server did it. In the second group it did not, in the third it did.
LOSSES = {
    "408": {"status": 408},
    "425": {"status": 425},
    "500": {"status": 500},
    "502": {"status": 502, "body": ERROR_PAGE},
    "503": {"status": 503, "body": ERROR_PAGE},
    "504": {"status": 504, "body": b""},
    "dropped before processing": {"drop": "before"},
    "reset before processing": {"drop": "before", "reset": True},
    "500 after processing": {"status": 500, "processed": True},
    "504 after processing": {"status": 504, "body": ERROR_PAGE, "processed": True},
    "dropped after processing": {"drop": "after"},
    "reset after processing": {"drop": "after", "reset": True},
    "no answer in time": {"hold": True},
    "body cut off": {"truncate": True},
}

ALL = {**REFUSALS, **LOSSES}

#: For tests in which the time-out is the point; for all others it is long, as machines can be slow.
SHORT_READ_TIMEOUT = 0.25


def fault_of(name: str, method: str, path: str, times: int | None) -> Fault:
    """
    Make a fault.

    :param times: how many of the first requests meet it; ``None`` for all.
    """
    return Fault(method, path, None if times is None else range(1, times + 1), **ALL[name])


def read_timeout(name: str) -> float:
    """How long a client should wait for an answer when this happens."""
    return SHORT_READ_TIMEOUT if ALL[name].get("hold") else 10.0


def did_it(name: str) -> bool:
    """Whether the server processes the request all the same."""
    trouble = ALL[name]
    return bool(trouble.get("processed") or trouble.get("hold") or trouble.get("truncate")) or (
        trouble.get("drop") == "after"
    )
