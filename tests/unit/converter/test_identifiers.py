from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from pacstream.messages import Series
from pacstream_converter.identifiers import Identifiers, identifiers_of
from tests.unit.converter.samples import PLANTED, SERIES_UID, STUDY_UID, image, write

SERIES = Series(study_uid="1.2", series_uid="1.2.3")


def of(tmp_path: Path, *images: Dataset) -> Identifiers:
    paths = [tmp_path / str(number) for number in range(len(images))]
    for path, ds in zip(paths, images, strict=True):
        write(ds, path)
    return identifiers_of(SERIES, paths)


def test_all_planted_identifiers_are_found(tmp_path: Path) -> None:
    found = of(tmp_path, image("MR", 0))
    assert {PLANTED["PatientID"], PLANTED["AccessionNumber"], STUDY_UID, SERIES_UID} <= found.ids
    assert {"19450203", "1945-02-03", "03.02.1945", "02/03/1945", "20200102"} <= found.ids
    assert {"QUILLFEATHER", "ANASTASIA", "REFERRER", "OPERATOR"} <= found.names
    assert {"MOUNT PLANTED HOSPITAL", "13 PLANTED ROAD", "PLANTSTATION"} <= found.names
    assert {"PLANTED SERIES WORDS", "PLANTED PROTOCOL"} <= found.texts


def test_the_number_within_an_id_counts_but_not_parts_of_uids(tmp_path: Path) -> None:
    ds = image("MR", 0)
    ds.PatientID, ds.StudyInstanceUID = "MRN-0042117", "1.2.826.0.1.77123.9"
    found = of(tmp_path, ds)
    assert {"MRN-0042117", "42117"} <= found.ids
    assert "77123" not in found.ids


def test_those_of_every_original_count(tmp_path: Path) -> None:
    other = image("MR", 1)
    other.OperatorsName = "SOMEBODY^ELSE"
    assert {"OPERATOR", "SOMEBODY", "ELSE"} <= of(tmp_path, image("MR", 0), other).names


def test_names_in_sequences_count(tmp_path: Path) -> None:
    ds, item, request = image("MR", 0), Dataset(), Dataset()
    item.PersonName, request.PatientID = "NESTED^NELLY", "0077889900"
    request.ContentCreatorName = "DEEPER^DORA"
    item.ReferencedRequestSequence = [request]
    ds.VerifyingObserverSequence = [item]
    found = of(tmp_path, ds)
    assert {"NESTED", "NELLY", "DEEPER", "DORA"} <= found.names
    assert {"0077889900", "77889900"} <= found.ids


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_are_read_too(tmp_path: Path, syntax: str) -> None:
    ds = image("MR", 0)
    ds.PixelData = bytes(len(ds.PixelData))
    path = tmp_path / "other"
    write(ds, path, syntax)
    assert "QUILLFEATHER" in identifiers_of(SERIES, [path]).names


def test_names_in_other_scripts_count_from_the_first_letter(tmp_path: Path) -> None:
    ds = image("MR", 0)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = "Li^Bo=李^波"
    assert {"李", "波"} <= of(tmp_path, ds).names


def test_a_file_that_can_not_be_read_names_nobody_and_stops_nothing(tmp_path: Path) -> None:
    write(image("MR", 0), tmp_path / "good")
    (tmp_path / "bad").write_bytes(bytes(range(256)) * 9)
    found = identifiers_of(SERIES, [tmp_path / "bad", tmp_path / "good"])
    assert "ANASTASIA" in found.names
