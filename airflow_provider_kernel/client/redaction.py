"""
Mask the API keys of this process, and tokens in addresses, in text for people: error messages, and lines of logs.

Answers are parsed as they are. A name, an id or an output that contains a key is data, and changing it would make
it another one.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from urllib.parse import quote

MASK = "***"
#: A shorter key is refused: it could be part of a common word, and Airflow's own masker skips short secrets.
MIN_KEY_LENGTH = 8

_URL_BACKSLASH, _HTML_BACKSLASH = r"%(?:25){0,3}5c", r"&(?:amp;){0,3}\#(?:0{0,5}92|x0{0,5}5c);"
#: Every repetition has a bound, and none is inside another that may repeat the same: no text makes the search slow.
_ESCAPE = rf"(?:\\{{1,8}}|(?:{_URL_BACKSLASH}){{1,8}}|(?:{_HTML_BACKSLASH}){{1,8}})"
#: More characters than any form of a key has.
_LONGEST_FORM = 20_000
#: What the encodings of a character begin with. Text without them can hold a key only as it is, or as base64.
_ESCAPES = "\\%&"
#: The token in an address of a browser. As text: every task loads this module, and few texts hold one.
_JWT = r"(?i)(jwt(?:=|%(?:25){0,3}3d|\\u003d)[\"']?)[\w.~+/-]+"
_HTML_NAMES = {'"': "quot", "'": "apos", "&": "amp", "<": "lt", ">": "gt"}


def register_key(key: str) -> None:
    """Mask a key in this process from now on."""
    if key not in _keys:
        _keys[key] = _Key(key)


def mask(text: str) -> str:
    """
    Mask all registered keys in a text, in the forms that a text may hold: as they are, in ``repr()``, escaped for
    JSON, URL or HTML, and in base64. Mask before a text is cut: a cut could leave a part of a key.
    """
    if "jwt" in text.lower():
        text = re.sub(_JWT, rf"\1{MASK}", text)
    # The longest first: a key may begin with another one.
    for key in sorted(_keys, key=len, reverse=True):
        text = _keys[key].mask(text)
    return text


def mask_start(text: str, limit: int) -> str:
    """Mask the start of a text that may be very long, and cut it."""
    return mask(text[: limit + _LONGEST_FORM])[:limit]


def printed_forms(key: str) -> list[str]:
    """Give the forms of a key that a log may hold, for a masker that looks for exact texts."""
    forms = (key, repr(key)[1:-1], json.dumps(key)[1:-1], quote(key, safe=""), html.escape(key))
    return list(dict.fromkeys(forms))


class _Key:
    def __init__(self, key: str) -> None:
        self._exact = (key, *_base64_forms(key.encode()))
        self._key = key
        self._encoded: re.Pattern[str] | None = None
        self._hints = f"{_ESCAPES}+" if " " in key else _ESCAPES

    def mask(self, text: str) -> str:
        for form in self._exact:
            if form in text:
                text = text.replace(form, MASK)
        if any(hint in text for hint in self._hints):
            if self._encoded is None:  # compiled without a lock, since a signal handler may come in between
                self._encoded = re.compile("".join(_encoded(self._key)))
            text = self._encoded.sub(MASK, text)
        return text


_keys: dict[str, _Key] = {}


def _base64_forms(key: bytes) -> Iterable[str]:
    """Encode a key for each place where it may begin, without the digits that depend on its neighbours."""
    for shift in range(3):
        digits = base64.b64encode(bytes(shift) + key).decode().rstrip("=")
        is_whole = (shift + len(key)) % 3 == 0
        own = digits[(0, 2, 3)[shift] : None if is_whole else -1]
        yield own
        if (url_safe := own.translate(str.maketrans("+/", "-_"))) != own:
            yield url_safe


def _encoded(key: str) -> Iterator[str]:
    """Build a pattern of a key, each character of which may be encoded."""
    after_backslashes = False
    for is_backslash, run in groupby(key, lambda character: character == "\\"):
        if is_backslash:
            yield f"(?i:(?:\\\\|{_URL_BACKSLASH}|{_HTML_BACKSLASH})(?:u005c|x5c)?){{1,16}}"
            after_backslashes = True
            continue
        for character in run:
            yield _encoded_character(character, after_backslashes=after_backslashes)
            after_backslashes = False


def _encoded_character(character: str, *, after_backslashes: bool) -> str:
    """``after_backslashes`` says that the pattern before this one takes all backslashes."""
    number = ord(character)
    escape = "" if after_backslashes else _ESCAPE
    # repr() and JSON write a backslash before these.
    may_escape = f"(?i:{escape})?" if escape and character in "\"'/" else ""
    plain = re.escape(character) + (r"|\+" if character == " " else "")
    entity = f"\\#0{{0,5}}{number}|\\#x0{{0,5}}{number:02x}"
    if character in _HTML_NAMES:
        entity += f"|{_HTML_NAMES[character]}"
    encoded = f"{escape}(?:u00|x){number:02x}|%(?:25){{0,3}}{number:02x}|&(?:amp;){{0,3}}(?:{entity});"
    return f"{may_escape}(?:{plain}|(?i:{encoded}))"
