"""The names of fields in a stored connection, and which of them can be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: A name that can be shown: others may be the key itself.
_NAME = re.compile(r"[a-z_]{1,30}")
_NEAREST_CUTOFF = 0.5


def shown_names(names: Iterable[str]) -> str:
    """List names of fields, and leave out what may be no name."""
    return ", ".join(repr(name) for name in names if _NAME.fullmatch(name)) or "a name"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant; ``None`` if there is none like it."""
    import difflib  # imported late: most connections have no unknown name

    plain = re.sub(r"^extra__kernel__", "", name.lower().replace("-", "_"))
    return next(iter(difflib.get_close_matches(plain, list(known), 1, _NEAREST_CUTOFF)), None)
