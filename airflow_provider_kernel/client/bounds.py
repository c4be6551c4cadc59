"""
The bounds of what the client takes from a server, whatever that sends. Imports nothing.

Each is far above what the API sends. One that is reached is an error or a note in the log, never a full memory and
never a request without end.
"""

from __future__ import annotations

#: The size of an answer, decoded.
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
#: The size of the body of an error, decoded. More is not read: the status says what is wrong.
MAX_ERROR_BYTES = 256 * 1024
#: The size of an event of a stream. A log line has 64 KiB at most; a state holds payload and output.
MAX_EVENT_BYTES = 32 * 1024 * 1024
#: The length of an id or a status in an answer, in characters: they go into paths, messages and log lines.
MAX_NAME_LENGTH = 200
#: How many details of an error answer are kept.
MAX_ERROR_DETAILS = 10
