from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from pacstream.errors import RejectedError
from pacstream.messages import Series
from pacstream_converter.cleaner import Json, clean_image, release_sidecar
from pacstream_converter.identifiers import Identifiers, identifiers_of
from pacstream_converter.sidecar_keys import CODES, PERSONAL, QUANTITIES, TECHNICAL_NAMES

Kind = type[nibabel.Nifti1Image] | type[nibabel.Nifti2Image]

SERIES = Series(
    study_uid="1.2.826.0.1.4711.1",
    series_uid="1.2.826.0.1.4711.2",
    patient_id="007731",
    description="Brain of Anastasia",
)
IDENTIFIERS = identifiers_of(SERIES, [])


def write_image(path: Path, kind: Kind, **texts: str) -> np.ndarray:
    """A NIfTI file with texts in its header and a comment in an extension; its voxels."""
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = kind(voxels, np.eye(4))
    for name, text in texts.items():
        image.header[name] = text.encode()
    image.header.extensions.append(Nifti1Extension("comment", b"Anastasia"))
    nibabel.save(image, path)
    return voxels


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_header_texts_and_extensions_go_and_voxels_stay(tmp_path: Path, kind: Kind) -> None:
    source = tmp_path / "series.nii"
    texts = {"descrip": "Time=102300", "aux_file": "Anastasia", "intent_name": "Anastasia"}
    voxels = write_image(source, kind, **texts)
    clean = clean_image(source, IDENTIFIERS)
    target = tmp_path / "clean.nii"
    target.write_bytes(clean.header + source.read_bytes()[clean.voxels_at :])
    read = kind.from_filename(target)
    assert np.array_equal(np.asanyarray(read.dataobj), voxels)
    assert all(bytes(read.header[name]).strip(b"\0") == b"" for name in texts)
    assert list(read.header.extensions) == []
    assert b"Anastasia" not in target.read_bytes()


def test_old_text_fields_of_nifti_1_are_blank(tmp_path: Path) -> None:
    source = tmp_path / "series.nii"
    write_image(source, nibabel.Nifti1Image, db_name="Anastasia", data_type="Anastasi")
    assert b"Anast" not in clean_image(source, IDENTIFIERS).header


def test_a_plain_header_keeps_what_dcm2niix_composed(tmp_path: Path) -> None:
    source = tmp_path / "series.nii"
    write_image(source, nibabel.Nifti1Image, descrip="TE=3;Time=102300", aux_file="Anastasia")
    header = clean_image(source, None).header
    assert b"TE=3;Time=102300" in header
    assert b"Anastasia" not in header


def test_a_file_that_is_no_nifti_is_refused(tmp_path: Path) -> None:
    (tmp_path / "series.nii").write_bytes(b"no NIfTI")
    with pytest.raises(RejectedError) as refusal:
        clean_image(tmp_path / "series.nii", IDENTIFIERS)
    assert refusal.value.code == "bad_nifti"


@pytest.mark.parametrize("content", ["{", "[1]", '{"EchoTime": }'])
def test_a_sidecar_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    write_image(tmp_path / "series.nii", nibabel.Nifti1Image)
    (tmp_path / "series.json").write_text(content)
    with pytest.raises(RejectedError) as refusal:
        clean_image(tmp_path / "series.nii", IDENTIFIERS)
    assert refusal.value.code == "bad_sidecar"


@pytest.mark.parametrize("extra", [-1, 7])
def test_a_file_with_less_or_more_than_its_voxels_is_refused(tmp_path: Path, extra: int) -> None:
    write_image(tmp_path / "series.nii", nibabel.Nifti1Image)
    content = (tmp_path / "series.nii").read_bytes()
    (tmp_path / "series.nii").write_bytes(content[:extra] if extra < 0 else content + b"A" * extra)
    with pytest.raises(RejectedError) as refusal:
        clean_image(tmp_path / "series.nii", IDENTIFIERS)
    assert refusal.value.code == "bad_nifti"


@pytest.mark.parametrize("word", ["Anastasia", "nan", "1_000", "7731-0"])
@pytest.mark.parametrize("suffix", [".bval", ".bvec"])
def test_a_gradient_table_with_words_is_refused(tmp_path: Path, suffix: str, word: str) -> None:
    write_image(tmp_path / "series.nii", nibabel.Nifti1Image)
    (tmp_path / f"series{suffix}").write_text(f"0 1000 -1e-05 .5 {word}")
    with pytest.raises(RejectedError) as refusal:
        clean_image(tmp_path / "series.nii", IDENTIFIERS)
    assert refusal.value.code == "bad_sidecar"


def test_files_of_other_kinds_are_no_companions(tmp_path: Path) -> None:
    write_image(tmp_path / "series.nii", nibabel.Nifti1Image)
    (tmp_path / "series.txt").write_text("Anastasia")
    (tmp_path / "series.json").write_text('{"EchoTime": 0.003}')
    assert set(clean_image(tmp_path / "series.nii", IDENTIFIERS).companions) == {".json"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("InstitutionName", "Hospital"),
        ("AcquisitionTime", "10:23:00"),
        ("BidsGuess", ["anat", "_acq-Anastasia_T1w"]),
        ("EchoTime", "Anastasia"),
        ("EchoTime", {"comment": "Anastasia"}),
        ("SliceTiming", [0.1, "Anastasia"]),
        ("SliceThickness", float("nan")),
        ("ImageType", ["ORIGINAL", "Zoë"]),
        ("ScanOptions", 7),
        ("SoftwareVersions", ["syngo"]),
        ("SequenceName", "x" * 65),
        ("SequenceName", "brain of anastasia"),
        ("SomethingNew", 1),
    ],
)
def test_a_key_or_a_shape_that_is_not_allowed_is_dropped(key: str, value: Json) -> None:
    assert release_sidecar({key: value}, IDENTIFIERS) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("EchoTime", 0.003),
        ("SpoilingState", True),
        ("SliceTiming", [0, 1.5]),
        ("VOI", [[1.0, 0.0], [0.0, 1.0]]),
        ("ImageType", ["ORIGINAL", "PRIMARY"]),
        ("ImageOrientationText", "Tra>Cor(-0.3)"),
        ("SequenceVariant", "SK\\SP"),
        ("SoftwareVersions", "syngo MR B17"),
    ],
)
def test_what_is_allowed_stays_as_it_is(key: str, value: Json) -> None:
    assert release_sidecar({key: value}, IDENTIFIERS) == {key: value}


@pytest.mark.parametrize("echo", ["007731", "7731", "v 7731-b", "x7731", SERIES.series_uid])
def test_an_identifier_in_an_allowed_text_is_refused(tmp_path: Path, echo: str) -> None:
    write_image(tmp_path / "series.nii", nibabel.Nifti1Image)
    (tmp_path / "series.json").write_text(json.dumps({"SoftwareVersions": echo}))
    with pytest.raises(RejectedError) as refusal:
        clean_image(tmp_path / "series.nii", IDENTIFIERS)
    assert refusal.value.code == "nifti_echo"


@pytest.mark.parametrize("text", ["x77310", "syngo MR"])
def test_a_text_that_only_resembles_an_identifier_is_no_echo(tmp_path: Path, text: str) -> None:
    write_image(tmp_path / "series.nii", nibabel.Nifti1Image)
    (tmp_path / "series.json").write_text(json.dumps({"SoftwareVersions": text}))
    companions = clean_image(tmp_path / "series.nii", IDENTIFIERS).companions
    assert json.loads(companions[".json"]) == {"SoftwareVersions": text}


def test_a_description_that_is_also_a_code_does_not_stop_a_series(tmp_path: Path) -> None:
    write_image(tmp_path / "series.nii", nibabel.Nifti1Image)
    (tmp_path / "series.json").write_text('{"ImageType": ["ORIGINAL", "AXIAL"]}')
    identifiers = identifiers_of(SERIES.model_copy(update={"description": "AXIAL"}), [])
    companions = clean_image(tmp_path / "series.nii", identifiers).companions
    assert json.loads(companions[".json"]) == {"ImageType": ["ORIGINAL", "AXIAL"]}


PERSON = Identifiers(
    ids=frozenset({"19450203", "55501234"}),
    names=frozenset({"Anastasia", "HEAD", "MOUNT HOSPITAL"}),
    texts=frozenset({"T1 of Anna"}),
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("BodyPart", "HEAD"),
        ("ImageType", ["ORIGINAL", "anastasia_T1"]),
        ("PulseSequenceName", "tfl mount hospital"),
        ("PulseSequenceDetails", "t1 of anna"),
        ("TxRefAmp", 55501234),
        ("VOI", [[1.0, 19450203.0]]),
    ],
)
def test_a_value_that_names_somebody_is_dropped(key: str, value: Json) -> None:
    assert release_sidecar({key: value}, PERSON) == {}


@pytest.mark.parametrize(("key", "value"), [("TxRefAmp", 5550.1234), ("BodyPart", "BRAIN")])
def test_a_value_that_only_looks_like_it_stays(key: str, value: Json) -> None:
    assert release_sidecar({key: value}, PERSON) == {key: value}


def test_no_key_is_in_two_lists() -> None:
    lists = (QUANTITIES, CODES, TECHNICAL_NAMES, PERSONAL)
    assert sum(map(len, lists)) == len(frozenset().union(*lists))
