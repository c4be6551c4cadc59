"""
What templates have made of a payload or an output.

Jinja makes text of everything: of a dict that another task returned its ``repr``, and of what is not there
``'None'``. An app would get these as text. Constants that read like that stay as they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.safe_logger import get_logger

log = get_logger(__name__)

#: Above this many characters, text that begins and ends like a dict or list is not read.
_READ_LIMIT = 100_000
#: How many places a message names.
_MAX_NAMED = 5
#: Begins the text of a dict or list whose first item or key is text.
_PYTHON_START = r"[\[({]*'"
_NONE = r"\bNone\b"

_INSTEAD = (
    "Give the other task's result itself, as task.output, or set render_template_as_native_obj=True in the DAG; "
    "where text is meant, write it with a filter, such as {{ value | tojson }} or {{ value or '' }}"
)


class Found(NamedTuple):
    """
    Text in the place of a value.

    :param place: where it is, such as ``payload['items'][0]``.
    :param what: what it is the text of.
    :param is_whole: whether one ``{{ ... }}`` has made all of it.
    """

    place: str
    what: str
    is_whole: bool


def check_template_results(name: str, template: Any, rendered: Any, jinja_env: Any) -> None:
    """
    Look for the text of a dict, a list or None where a template was to give a value.

    Text that one ``{{ ... }}`` has made is an error: an app cannot do anything with it. Of text that holds such a
    thing among other text, a warning is logged.

    :param name: the name of the template field.
    :param template: the field before it was rendered.
    :param rendered: the field now.
    :param jinja_env: the environment it was rendered with.
    """
    marks = (
        getattr(jinja_env, "variable_start_string", "{{"),
        getattr(jinja_env, "variable_end_string", "}}"),
    )
    found = list(_find(template, rendered, name, marks))
    whole = [one for one in found if one.is_whole]
    if whole:
        raise KernelInputError(f"{_list(whole)}: a template makes text of a value. {_INSTEAD}")
    if found:
        log.warning("%s: a template makes text of a value. %s", _list(found), _INSTEAD)


def _list(found: list[Found]) -> str:
    named = ", ".join(
        f"{place} {'is' if is_whole else 'holds'} the text of {what}"
        for place, what, is_whole in found[:_MAX_NAMED]
    )
    return named if len(found) <= _MAX_NAMED else f"{named} and {len(found) - _MAX_NAMED} more"


def _find(template: Any, rendered: Any, place: str, marks: tuple[str, str]) -> Iterator[Found]:
    if isinstance(template, str):
        if isinstance(rendered, str) and rendered != template and "json" not in template:
            is_whole = _is_one_expression(template, marks)
            what = _text_of(rendered) if is_whole else _text_within(template, rendered)
            if what:
                yield Found(place, what, is_whole)
    elif isinstance(template, dict) and isinstance(rendered, dict):
        for key, item in template.items():
            if key in rendered:
                yield from _find(item, rendered[key], f"{place}[{key!r}]", marks)
    elif isinstance(template, (list, tuple)) and isinstance(rendered, (list, tuple)):
        for index, (item, made) in enumerate(zip(template, rendered, strict=False)):
            yield from _find(item, made, f"{place}[{index}]", marks)


def _is_one_expression(template: str, marks: tuple[str, str]) -> bool:
    start, end = marks
    text = template.strip()
    return text.startswith(start) and text.endswith(end) and text.count(start) == 1 and text.count(end) == 1


def _text_of(text: str) -> str | None:
    """Say what a whole text is the ``str()`` of, if that is None, a dict or a list."""
    text = text.strip()
    if text == "None":
        return "None"
    brackets = text[:1] + text[-1:]
    if brackets not in ("{}", "[]"):
        return None
    what = "a dict" if brackets == "{}" else "a list"
    if len(text) > _READ_LIMIT:
        return what if re.match(_PYTHON_START, text) else None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        # With a date or another object in it, Python cannot read it back.
        return what if re.match(_PYTHON_START, text) else None
    # JSON, which an app may want, is written in another way, unless it holds only numbers.
    return what if isinstance(value, (dict, list)) and str(value) == text else None


def _text_within(template: str, rendered: str) -> str | None:
    """Say what stands as text among other text, and not in the template."""
    if len(re.findall(_NONE, rendered)) > len(re.findall(_NONE, template)):
        return "None"
    for start, what in (("[{'", "a list"), ("['", "a list"), ("{'", "a dict")):
        if rendered.count(start) > template.count(start):
            return what
    return None
