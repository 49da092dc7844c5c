"""Damaged instances, and files that are none."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.answer_key.key import Fate
from tests.answer_key.maker import Maker, Written, part_10


def add_damage(maker: Maker) -> None:
    _add_cut(maker)
    _add_longer(maker)
    _add_strangers(maker)


def _add_cut(maker: Maker) -> None:
    """A reader that says nothing fills up or drops; what is not whole may not pass for whole."""
    for title, written in (
        ("pixels", Written(cut=20)),
        ("header", Written(cut=400)),
        ("implicit", Written(ImplicitVRLittleEndian, cut=33)),
        ("deflated", Written(DeflatedExplicitVRLittleEndian, cut=30)),
    ):
        person = maker.cast.person()
        data_set = maker.instance(person, "CT")
        name = f"damaged/cut-{title}.dcm"
        maker.add(name, "damaged", data_set, person, Fate.WITHHELD, written)


def _add_longer(maker: Maker) -> None:
    """Bytes behind the data set are no part of it; the image is good."""
    person = maker.cast.person()
    text = maker.hidden(maker.cast.word(), "damaged").encode().ljust(64, b"\0")
    data_set = maker.instance(person, "CT")
    written = Written(trailing=text)
    maker.add("damaged/trailing.dcm", "damaged", data_set, person, Fate.EITHER, written)
    person = maker.cast.person()
    data_set = maker.instance(person, "CT")
    text = maker.hidden(maker.cast.word(), "damaged").encode().ljust(64, b"\0")
    data_set["PixelData"].value = bytes(data_set.PixelData) + text
    maker.add("damaged/excess.dcm", "damaged", data_set, person, Fate.EITHER)


def _add_strangers(maker: Maker) -> None:
    def hidden() -> str:
        return maker.hidden(maker.cast.word(), "no instances")

    maker.add_stranger("others/patients.csv", f"name,id\n{hidden()},7\n".encode())
    maker.add_stranger("others/report.txt", f"Report about {hidden()}".encode())
    maker.add_stranger("others/photo.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0" + hidden().encode())
    maker.add_stranger("others/fake.dcm", b"\0" * 128 + b"DICM" + hidden().encode() * 9)
    maker.add_stranger("others/page.html.dcm", f"<html>{hidden()}</html>".encode())
    maker.add_stranger(f"others/{hidden()}", b"")
    maker.add_stranger("DICOMDIR", _directory(maker, hidden()))


def _directory(maker: Maker, name: str) -> bytes:
    found, record = Dataset(), Dataset()
    found.SOPClassUID, found.SOPInstanceUID = "1.2.840.10008.1.3.10", maker.cast.uid()
    record.DirectoryRecordType, record.PatientName = "PATIENT", name
    found.FileSetID, found.DirectoryRecordSequence = "SET", [record]
    return part_10(found, Written())
