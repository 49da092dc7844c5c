"""The reports below a folder, each as `<SOP Instance UID>.txt` and `.json`."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset
from pydicom.filereader import read_file_meta_info

from pacstream.archive import UID, write_atomically
from pacstream.errors import InputError, RetryLaterError
from pacstream_exporter.folder import LeftOut, NotUsableError, files_below, read_header
from pacstream_exporter.media.records import record_type
from pacstream_exporter.reports.rendering import text
from pacstream_exporter.reports.tree import as_dict, code_of, item_of, text_of

KIND_TAGS = ("SOPClassUID", "Modality", "ValueType")
DOCUMENTS = frozenset({"SR DOCUMENT", "KEY OBJECT DOC"})
MODALITIES = frozenset({"SR", "KO"})
MAYBE = frozenset({"truncated", "unreadable"})
"""Reasons for which a file may be a report all the same: its file meta tells."""

Progress = Callable[[int, int], None]
"""Told how many files of how many are through."""


@dataclass
class Summary:
    """What became of the files of a folder. `others` are whole instances that are no reports."""

    reports: int = 0
    written: int = 0
    before: int = 0
    duplicates: int = 0
    others: int = 0
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Every report was read."""
        return not any(one.is_loss for one in self.left_out)


def check_folders(source: Path, out: Path) -> None:
    """Raises InputError unless two resolved paths are folders, the second not in the first."""
    if not source.is_dir():
        raise InputError("--in_folder is no folder")
    if out.exists() and not out.is_dir():
        raise InputError("--out_folder is no folder")
    if out == source or out.is_relative_to(source):
        raise InputError("--out_folder lies inside --in_folder: texts would lie beside the images")


def extract_reports(
    source: Path, out: Path, progress: Progress = lambda done, total: None
) -> Summary:
    """Write text and JSON of each report below `source`. Files with the same content stay.

    Raises InputError, also for a folder without files, and RetryLaterError `disk`.
    """
    check_folders(source, out)
    summary, seen = Summary(), dict[str, bytes]()
    files = list(files_below(source))
    if not files:
        raise InputError("there are no files below --in_folder")
    for done, (path, problem) in enumerate(files, start=1):
        try:
            if problem:
                raise NotUsableError(problem)
            document = document_of(path)
        except NotUsableError as error:
            _leave_out(path, error, summary)
            continue
        if document is None:
            summary.others += 1
        else:
            summary.reports += 1
            _put(path, document, out, seen, summary)
        progress(done, len(files))
    return summary


@dataclass(frozen=True)
class Document:
    uid: str
    text: bytes = field(repr=False)
    json: bytes = field(repr=False)


def document_of(path: Path) -> Document | None:
    """A report as it is to be written; None for any other instance.

    Raises NotUsableError: `unreadable` also for a report without a content tree.
    """
    try:
        is_report = _is_report(read_header(path, KIND_TAGS))
    except NotUsableError as error:
        if error.reason in MAYBE and not _says_report(path):
            return None
        raise
    if not is_report:
        return None
    header = read_header(path)
    try:
        uid = text_of(header, "SOPInstanceUID")
        if not UID.fullmatch(uid):
            raise NotUsableError("missing_uid", "SOPInstanceUID")
        if not header.get("ContentSequence"):
            raise NotUsableError("unreadable", "ContentSequence")
        head, tree = head_of(header), item_of(header)
    except NotUsableError:
        raise
    except Exception:  # noqa: BLE001 - pydicom raises anything on damaged values, and quotes them
        raise NotUsableError("unreadable") from None
    told = {"document": head, "content": as_dict(tree)}
    return Document(
        uid,
        text(head, tree).encode("utf-8", "backslashreplace"),
        (json.dumps(told, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace"),
    )


def _is_report(header: Dataset) -> bool:
    return (
        record_type(text_of(header, "SOPClassUID")) in DOCUMENTS
        or text_of(header, "Modality") in MODALITIES
        or text_of(header, "ValueType") == "CONTAINER"
    )


def _says_report(path: Path) -> bool:
    """Whether the file meta, which is whole in most damaged files, names a class of reports, or
    can't be read either."""
    try:
        meta = read_file_meta_info(path)
    except Exception:  # noqa: BLE001 - as above
        return True
    return record_type(text_of(meta, "MediaStorageSOPClassUID")) in DOCUMENTS


def head_of(header: Dataset) -> dict[str, object]:
    """What a document is, whose, and who stands for it."""
    keywords = {
        "SOP_Instance_UID": "SOPInstanceUID",
        "SOP_Class_UID": "SOPClassUID",
        "Study_Instance_UID": "StudyInstanceUID",
        "Series_Instance_UID": "SeriesInstanceUID",
        "Patient_ID": "PatientID",
        "Patient_Name": "PatientName",
        "Study_Date": "StudyDate",
        "Accession_Number": "AccessionNumber",
        "Content_Date": "ContentDate",
        "Content_Time": "ContentTime",
        "Completion": "CompletionFlag",
        "Verification": "VerificationFlag",
    }
    head: dict[str, object] = {name: text_of(header, one) for name, one in keywords.items()}
    head["Title"] = code_of(header, "ConceptNameCodeSequence").get("meaning", "")
    observers = header.get("VerifyingObserverSequence") or ()
    head["Verified_by"] = "; ".join(
        " ".join(text_of(one, key) for key in ("VerifyingObserverName", "VerificationDateTime"))
        for one in observers
    )
    return {name: value for name, value in head.items() if value}


def _leave_out(path: Path, error: NotUsableError, summary: Summary) -> None:
    left = LeftOut(str(path), error.reason, error.detail)
    summary.left_out.append(left)
    summary.reports += left.is_loss


def _put(
    path: Path, document: Document, out: Path, seen: dict[str, bytes], summary: Summary
) -> None:
    digest = hashlib.sha256(document.json).digest()
    if document.uid in seen:
        if seen[document.uid] == digest:
            summary.duplicates += 1
        else:
            summary.left_out.append(LeftOut(str(path), "duplicate_uid"))
        return
    seen[document.uid] = digest
    contents = {".txt": document.text, ".json": document.json}
    try:
        is_new = [_written(out / (document.uid + end), one) for end, one in contents.items()]
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise RetryLaterError(f"--out_folder can't be written ({name})", code="disk") from None
    summary.written += 1
    summary.before += not any(is_new)


def _written(target: Path, content: bytes) -> bool:
    """Whether the file was not there yet with this content."""
    if target.is_file() and target.read_bytes() == content:
        return False
    write_atomically(target, content)
    return True
