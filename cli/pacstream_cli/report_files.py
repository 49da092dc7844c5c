"""`pacstream report` into files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pacstream.archive import Archive, write_atomically
from pacstream.errors import InputError, PacstreamError
from pacstream_cli.client import View
from pacstream_exporter.batch_report.content import report_of
from pacstream_exporter.batch_report.files import FORMATS
from pacstream_exporter.batch_report.people import people_of, write_people
from pacstream_exporter.batch_report.words import read_words


def written_reports(
    view: View, wanted: Mapping[str, Path], archive: Archive, *, identified: bool
) -> list[Path]:
    """Write each wanted format (csv, json, html) to its file. Raises InputError."""
    if not wanted:
        return []
    words = read_words(archive, view["batch_id"]) if identified else {}
    report = report_of(view, words, identified=identified)
    for kind, path in wanted.items():
        text = FORMATS[kind](report).encode("utf-8", "surrogateescape")
        try:
            write_atomically(path.absolute(), text)
        except OSError as error:
            raise InputError(f"{path}: can't be written ({type(error).__name__})") from None
    return list(wanted.values())


def written_mapping(view: View, folder: Path, archive: Archive) -> list[Path]:
    """Who is who in the release, also PACSMAN's files. Raises InputError."""
    if not view["actions"]["anonymize"]:
        raise InputError("--mapping: the batch has no release, so there are no pseudonyms")
    if folder.resolve().is_relative_to((Path(view["out"]) / "release").resolve()):
        raise InputError("--mapping: who is who does not belong in the release")
    series = dict.fromkeys(one["series_uid"] for row in view["report"] for one in row["series"])
    try:
        write_people(people_of(view["batch_id"], series, archive), folder.absolute())
    except PacstreamError as error:
        raise InputError(f"--mapping: {error}") from None
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({type(error).__name__})") from None
    return [folder / name for name in ("mapping.csv", "mapper.json", "date_offsets.csv")]
