"""What a browser without a Chromium shows, and what a recording holds: both are made here, without any picture."""

from __future__ import annotations

import struct
import zlib


def white_png(width: int, height: int) -> bytes:
    """Return a PNG of a white page."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)  # one bit a pixel, grey
    row = b"\0" + b"\xff" * ((width + 7) // 8)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(row * height)),
            chunk(b"IEND", b""),
        )
    )


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


#: An MP4 file: its type, and a film of no length.
MP4 = _box(b"ftyp", b"isom\0\0\x02\0isomiso2mp41") + _box(
    b"moov",
    _box(
        b"mvhd",
        struct.pack(
            ">IIIIIIHHII9I6II",
            *(0, 0, 0, 1000, 0, 0x00010000, 0x0100, 0, 0, 0),
            *(0x00010000, 0, 0, 0, 0x00010000, 0, 0, 0, 0x40000000),
            *(0, 0, 0, 0, 0, 0),
            1,
        ),
    ),
)
