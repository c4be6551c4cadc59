"""Encode and decode the JSON *strings* that the API has inside its JSON: payloads and outputs."""

from __future__ import annotations

import json
import math
from collections import UserString
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from operator import is_ as _is
from typing import Any

from airflow_provider_kernel.client.errors import KernelInputError

#: Kernel documents two limits of a payload, and not which one holds. Above the first, requests log a warning; above
#: the second, they are refused.
PAYLOAD_WARN_BYTES = 64 * 1024
PAYLOAD_MAX_BYTES = 4_500_000

_PLACE_LIMIT = 200
#: Sequences of characters or bytes, which are no lists.
_TEXT_TYPES = (str, bytes, bytearray, memoryview, UserString)
_BYTES_TYPES = (bytes, bytearray, memoryview)


def to_json_text(value: Any, *, what: str) -> str:
    """
    Write a Python value as JSON text.

    :param value: anything that JSON can hold. Text is written as a JSON string, quotes and all; any ``Mapping`` as
        an object, and any other ``Sequence`` as an array.
    :param what: what it is for, such as ``"payload"``, for the error.
    :return: the JSON, with non-ASCII characters as they are.
    :raises KernelInputError: naming the place in the value that JSON cannot hold (NaN and infinity among them).
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_as_container)
    except (TypeError, ValueError, RecursionError) as error:
        place, found = _find_culprit(to_plain(value), what)
        if len(place) > _PLACE_LIMIT:
            place = f"{place[:_PLACE_LIMIT]}…"
        raise KernelInputError(
            f"{place} cannot be written as JSON: {found or error}. Use dict, list, str, int, float, bool and None; "
            "turn dates into text, and NaN into None"
        ) from None


def to_plain(value: Any, read: Callable[[Sequence[Any]], Iterable[Any]] = list) -> Any:
    """
    Read what JSON takes for an object or an array, and Python's ``json`` does not: each item once.

    :param read: reads a sequence that is neither list nor tuple; it may have to be fetched.
    :return: the value with a dict for every ``Mapping`` that is none, and a list for every such ``Sequence``. The
        value itself where it has none, or is nested too deeply to be read.
    """
    try:
        return _to_plain(value, read)
    except RecursionError:
        return value


def _to_plain(value: Any, read: Callable[[Sequence[Any]], Iterable[Any]]) -> Any:
    if isinstance(value, _TEXT_TYPES):
        return value
    if isinstance(value, Mapping):
        fields = {key: _to_plain(item, read) for key, item in value.items()}
        is_same = isinstance(value, dict) and all(map(_is, fields.values(), value.values()))
        return value if is_same else fields
    if isinstance(value, (list, tuple)):
        items = [_to_plain(item, read) for item in value]
        if all(map(_is, items, value)):
            return value
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, Sequence):
        return [_to_plain(item, read) for item in read(value)]
    return value


def _as_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, _TEXT_TYPES):
        return list(value)
    raise TypeError(type(value).__name__)


def size_in_bytes(text: str) -> int:
    """Count a text's bytes in UTF-8, lone surrogates included."""
    return len(text.encode("utf-8", "surrogatepass"))


def _find_culprit(value: Any, place: str, depth: int = 0) -> tuple[str, str | None]:
    if depth > 200:
        return place, "it is nested too deeply, or holds itself"
    if isinstance(value, (dict, list, tuple)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if not isinstance(key, (str, int, float, bool, type(None))):
                return place, f"a key of type {type(key).__name__}"
            where, found = _find_culprit(item, f"{place}[{key!r}]", depth + 1)
            if found:
                return where, found
        return place, None
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        # repr() of an int of thousands of digits is an error.
        return place, "a number of too many digits" if isinstance(value, int) else f"{value!r} is not a JSON number"
    except TypeError:
        hint = "; decode it, or write it as base64 text" if isinstance(value, _BYTES_TYPES) else ""
        return place, f"a value of type {type(value).__name__}{hint}"
    return place, None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is larger than a float can be")
    return number


def parse_json_leniently(text: str) -> Any:
    """
    Read an output: JSON of any type, or plain text, which failures often are.

    :return: the value, or the text itself when it is not JSON, or JSON that Python cannot hold.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_float)
    except (ValueError, RecursionError):
        return text


class Unreadable(Enum):
    """Stands for JSON that Python cannot hold."""

    TOO_DEEP = "nested too deeply"
    TOO_LARGE = "a number that is too large"


def parse_json_exactly(text: str) -> Any:
    """
    Read an output: JSON of any type, or plain text.

    :return: as :func:`parse_json_leniently`, except that JSON is never taken for text: an :class:`Unreadable` is in
        the place of what Python cannot hold.
    """
    value = parse_json_leniently(text)
    if value is not text:
        return value
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_number, parse_int=_number)
    except RecursionError:
        return Unreadable.TOO_DEEP
    except ValueError:
        return text


def _number(text: str) -> float | Unreadable:
    try:
        return int(text) if text.lstrip("-").isdigit() else _finite_float(text)
    except ValueError:  # for an integer, above some thousand digits
        return Unreadable.TOO_LARGE


def is_json(text: str) -> bool:
    """Tell whether a text is JSON, with numbers of any size. Python cannot read JSON that is nested too deeply."""
    try:
        json.loads(text, parse_constant=_refuse_constant, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return True
