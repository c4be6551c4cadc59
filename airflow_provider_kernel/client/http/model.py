"""What all models of the API have in common."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from airflow_provider_kernel.client.bounds import MAX_NAME_LENGTH


def _as_json_text(value: Any) -> Any:
    # The API documents a JSON string. If it ever sends the value itself, keep it.
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _check_name(value: str) -> str:
    # Names go into messages and log lines, ids into paths too.
    if len(value) > MAX_NAME_LENGTH or not value.isprintable():
        raise ValueError(f"takes printable text of at most {MAX_NAME_LENGTH} characters")
    return value


JSONText = Annotated[str, BeforeValidator(_as_json_text)]
Name = Annotated[str, AfterValidator(_check_name)]


class ApiModel(BaseModel):
    """The base of all models: unknown fields are kept, and nothing undeclared is shown in a ``repr``."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    def __repr_args__(self) -> Any:
        # Extra fields may hold anything; show only the declared ones that are meant to be shown.
        fields = type(self).model_fields
        return [(name, value) for name, value in super().__repr_args__() if name in fields]
