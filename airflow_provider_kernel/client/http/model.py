"""What all models of the API have in common."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


def _as_json_text(value: Any) -> Any:
    # The API documents a JSON string. Were it ever to answer with the value itself, nothing must get lost.
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _check_name(value: str) -> str:
    # It stands in messages and log lines, and an id in paths too.
    if len(value) > _NAME_LIMIT or not value.isprintable():
        raise ValueError(f"takes printable text of at most {_NAME_LIMIT} characters")
    return value


_NAME_LIMIT = 200
JSONText = Annotated[str, BeforeValidator(_as_json_text)]
Name = Annotated[str, AfterValidator(_check_name)]


class ApiModel(BaseModel):
    """The base of all models: unknown fields are kept, and nothing undeclared is shown in a ``repr``."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    def __repr_args__(self) -> Any:
        # Extra fields may hold anything; show only the declared ones that are meant to be shown.
        fields = type(self).model_fields
        return [(name, value) for name, value in super().__repr_args__() if name in fields]
