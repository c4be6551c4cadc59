"""How many histories Hypothesis makes up, and how."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("HISTORIES", "300"))
#: Why a test is only of these versions.
REMEMBERS = "before, no try knows of another"


def histories(examples, **more):
    return settings(
        max_examples=max(1, examples),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
