"""An instance in another transfer syntax, for a node that does not take it as it is."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pacstream_exporter.delivery.contexts import PLAIN


class CannotDecodeError(ValueError):
    """Its argument is a reason code."""


def re_encoded(path: Path, syntax: str) -> Dataset:
    """The whole instance in one of the uncompressed little endian syntaxes. Its pixels are
    decompressed if they have to be, and its UID stays: it is the same image.

    Raises CannotDecodeError.
    """
    try:
        dataset = dcmread(path)
        if dataset.file_meta.TransferSyntaxUID not in PLAIN:
            dataset.decompress(generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        content = BytesIO()
        implicit = UID(syntax).is_implicit_VR
        dcmwrite(content, dataset, implicit_vr=implicit, little_endian=True)
        content.seek(0)
        return dcmread(content)
    except (RuntimeError, NotImplementedError, AttributeError, ImportError):
        raise CannotDecodeError("no_decoder") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        raise CannotDecodeError("unreadable") from None
