"""
The model of invocations. Those of their browsers are in ``browser_models.py``.

It is lenient: unknown fields are kept, few fields are required, and timestamps stay text (the API writes nine
fraction digits, which ``datetime`` cannot hold).
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from airflow_provider_kernel.client.http.model import ApiModel, JSONText, Name
from airflow_provider_kernel.client.resources.invocations.state import InvocationState


class Invocation(ApiModel, InvocationState):
    """
    One run of an action.

    ``output`` is the text that the API sent; :meth:`parsed_output` reads it. Neither it nor ``payload`` is part
    of the ``repr``, since both may hold sensitive data.
    """

    strict_fields: ClassVar[frozenset[str]] = frozenset({"payload", "output"})

    id: Name = Field(min_length=1)
    status: Name
    app_name: str | None = None
    version: str | None = None
    action_name: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    status_reason: str | None = None
    payload: JSONText | None = Field(default=None, repr=False)
    output: JSONText | None = Field(default=None, repr=False)
