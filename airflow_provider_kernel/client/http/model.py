"""
What all models of the API have in common.

A field with a default is optional: if it cannot be read, it has its default, and that is logged once. The other
fields, and those in ``strict_fields``, are what the promise needs; a document without them is refused.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from airflow_provider_kernel.client.bounds import MAX_NAME_LENGTH
from airflow_provider_kernel.client.http.warn_once import warn_once
from airflow_provider_kernel.client.validation import is_unicode

T = TypeVar("T")


def _as_json_text(value: Any) -> Any:
    # The API documents a JSON string. If it ever sends the value itself, keep it.
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _check_name(value: str) -> str:
    # Names go into messages and log lines, ids into paths too.
    if len(value) > MAX_NAME_LENGTH or not value.isprintable():
        raise ValueError(f"takes printable text of at most {MAX_NAME_LENGTH} characters")
    return value


def _null_is_empty(value: Any) -> Any:
    return [] if value is None else value


JSONText = Annotated[str, BeforeValidator(_as_json_text)]
Name = Annotated[str, AfterValidator(_check_name)]
#: A list inside an answer; servers may write ``null`` for one without elements.
Rows = Annotated[list[T], BeforeValidator(_null_is_empty)]


class ApiModel(BaseModel):
    """The base of all models: unknown fields are kept, and nothing undeclared is shown in a ``repr``."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, defer_build=True)

    #: Optional fields that are no use in part: a document whose field cannot be read is refused.
    strict_fields: ClassVar[frozenset[str]] = frozenset()

    def __repr_args__(self) -> Any:
        # Extra fields may hold anything; show only the declared ones that are meant to be shown.
        fields = type(self).model_fields
        return [(name, value) for name, value in super().__repr_args__() if name in fields]


M = TypeVar("M", bound=ApiModel)


def read_leniently(model: type[M], document: Any) -> M:
    """
    Build a model from what can be read of a document, which is changed.

    An optional field that cannot be read is left out, and so is an element of a list inside the document. Each is
    logged once.

    :raises ValidationError: when something that is needed cannot be read.
    """
    _leave_out(_broken_texts(model, document))
    while True:
        try:
            return model.model_validate(document)
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False, include_context=False)
            places = (_find_optional(model, document, problem["loc"]) for problem in problems)
            optional = [place for place in places if place is not None]
            if not optional:
                raise
            _leave_out(optional)


#: Where something optional is in a document: the object or array, the key or index, and what to call it in the log.
_Place = tuple[Any, Any, str]


def _find_optional(model: type[ApiModel], document: Any, location: tuple[int | str, ...]) -> _Place | None:
    """Find the innermost optional thing on the way to a problem."""
    found: _Place | None = None
    inner: type[ApiModel] | None = model
    name = model.__name__
    for key in location:
        if isinstance(key, int) and isinstance(document, list):
            found = document, key, name
            document = document[key]
        elif inner is not None and isinstance(document, dict) and key in inner.model_fields:
            name = f"{inner.__name__}.{key}"
            if _is_optional(inner, str(key)):
                found = document, key, name
            inner, document = _model_in(inner.model_fields[str(key)].annotation), document.get(key)
        else:
            break
    return found


def _broken_texts(model: type[ApiModel], document: Any) -> list[_Place]:
    """Find the optional texts that are no Unicode: they could be neither logged nor sent on."""
    if not isinstance(document, dict):
        return []
    found: list[_Place] = []
    for name, field in model.model_fields.items():
        value = document.get(name)
        if isinstance(value, str):
            if _is_optional(model, name) and not is_unicode(value):
                found.append((document, name, f"{model.__name__}.{name}"))
        elif (inner := _model_in(field.annotation)) is not None:
            for each in value if isinstance(value, list) else [value]:
                found += _broken_texts(inner, each)
    return found


def _leave_out(places: list[_Place]) -> None:
    elements: dict[int, tuple[list[Any], set[int]]] = {}
    for holder, key, name in places:
        if isinstance(holder, list):
            elements.setdefault(id(holder), (holder, set()))[1].add(key)
            warn_once(f"An element of {name} in an answer cannot be read, and is left out")
        elif holder.pop(key, None) is not None:  # null is just another way to leave it out
            warn_once(f"The field {name} of an answer cannot be read, and counts as absent")
    for holder, indexes in elements.values():
        holder[:] = [element for index, element in enumerate(holder) if index not in indexes]


def _is_optional(model: type[ApiModel], name: str) -> bool:
    return not model.model_fields[name].is_required() and name not in model.strict_fields


def _model_in(annotation: Any) -> type[ApiModel] | None:
    if get_origin(annotation) is None:
        return annotation if isinstance(annotation, type) and issubclass(annotation, ApiModel) else None
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)
