"""Issuers of Patient ID (0010,0021) in the originals of a series: a pseudonym and a release folder
are made for an ID of one issuer."""

from __future__ import annotations

import struct
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from pacstream.archive import Archive
from pacstream.charsets import decode, encodings_of
from pacstream.errors import RetryLaterError
from pacstream.skim import skim_file

CHARACTER_SET, ISSUER = 0x00080005, 0x00100021
BAD = (InvalidDicomError, EOFError, ValueError, KeyError, NotImplementedError, struct.error)
"""What pydicom raises on bytes that are no data set: nothing of such an instance is released."""


def issuers_of(archive: Archive, series_uid: str) -> set[str]:
    """All that the instances name, read as the anonymizer reads them; empty text: one that names
    none. Without instances there is nothing. Raises RetryLaterError `disk`."""
    found = set()
    for uid in archive.instances(series_uid):
        try:
            found.add(_issuer(archive.instance_path(series_uid, uid)))
        except FileNotFoundError:
            continue  # someone has removed it since
        except OSError:
            raise RetryLaterError("an original can't be read", code="disk") from None
        except BAD:
            continue
    return found


def _issuer(path: Path) -> str:
    skimmed = skim_file(path, {CHARACTER_SET, ISSUER})
    if skimmed is None:
        values = _slowly(path)
    else:
        values = {tag: raw for tag, (_, raw) in skimmed.elements.items()}
    codecs = encodings_of(values.get(CHARACTER_SET, b""))
    return decode(values.get(ISSUER, b""), codecs).strip(" \0")


def _slowly(path: Path) -> dict[int, bytes]:
    """What the byte walk does not understand, deflated data sets for instance."""
    header = dcmread(path, stop_before_pixels=True, specific_tags=[CHARACTER_SET, ISSUER])
    found = {tag: header.get_item(tag).value for tag in (CHARACTER_SET, ISSUER) if tag in header}
    return {tag: value for tag, value in found.items() if isinstance(value, bytes)}
