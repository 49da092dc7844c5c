"""Character sets (PS3.5 section 6.1): whatever comes in, UTF-8 goes out."""

from __future__ import annotations

from pacstream.charsets import decode, encodings_of

__all__ = ["UTF_8", "decode", "encodings_of"]

UTF_8 = "ISO_IR 192"
