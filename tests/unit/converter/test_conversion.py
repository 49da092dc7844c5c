from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import dcm2niix
import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from pacstream.errors import RejectedError, ZoneError
from pacstream.messages import SeriesConverted
from pacstream_converter.dcm2niix import ARGUMENTS, Dcm2niix
from tests.unit.converter.samples import (
    ECHOES,
    PLANTED,
    SERIES_UID,
    SIZE,
    Bench,
    StoreSeries,
    image,
)

RECORD = ".conversion.json"


def load(bench: Bench, product: str) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_filename(bench.out / product)


def outcome(converted: SeriesConverted) -> tuple[str, str]:
    return converted.state, converted.reason


def one(converted: SeriesConverted, suffix: str) -> str:
    """The only product with this suffix; the record is no sidecar."""
    found = [name for name in converted.products if name.endswith(suffix)]
    (product,) = [name for name in found if suffix == RECORD or not name.endswith(RECORD)]
    return product


def by_suffix(converted: SeriesConverted) -> set[str]:
    """Product names without the series folder's path, and without the record's."""
    names = {Path(product).name.removeprefix("00004-MR") for product in converted.products}
    assert RECORD in names
    pictures = {name for name in names if name.endswith(".png")}
    images = {name.removesuffix(".nii.gz") for name in names if name.endswith(".nii.gz")}
    assert {name.removesuffix(".png") for name in pictures} == images
    return names - pictures - {RECORD}


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("anonymize", [True, False])
def test_a_volume_becomes_one_nifti_with_the_pixels_of_the_originals(
    bench: Bench, store_series: StoreSeries, modality: str, anonymize: bool
) -> None:
    store_series(modality, count=5)
    converted = bench.convert(anonymize=anonymize)
    assert outcome(converted) == ("converted", "")
    (product,) = [name for name in converted.products if name.endswith(".nii.gz")]
    volume = load(bench, product)
    assert volume.shape == (SIZE, SIZE, 5)
    expected = np.frombuffer(image(modality, 2).PixelData, "<i2").reshape(SIZE, SIZE)
    slope, offset = (1, -1024) if modality == "CT" else (1, 0)
    # NIfTI's axes point to right and anterior, DICOM's columns and rows to left and posterior.
    found = nibabel.as_closest_canonical(volume).get_fdata()[::-1, ::-1, 2].T
    assert np.array_equal(found, expected * slope + offset)


def test_release_products_lie_beside_the_release_folder(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series()
    converted = bench.convert(anonymize=True)
    folder = Path(converted.products[0]).parent
    assert folder.parts[0] == "release"
    assert by_suffix(converted) == {".json", ".nii.gz"}
    assert set(bench.products()) == set(converted.products)
    assert not any(name in converted.products[0] for name in ("PID", "PLANTED", "20200102"))


def test_the_folder_of_release_products_is_that_of_the_issuers_patient(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series()
    without = bench.convert(anonymize=True).products
    for path in bench.archive.series_folder(SERIES_UID).glob("*.dcm"):
        data_set = dcmread(path)
        data_set.IssuerOfPatientID = "HOSPITAL-A"
        data_set.save_as(path)
    named = bench.convert(anonymize=True).products
    assert {Path(one).parts[1] for one in without} != {Path(one).parts[1] for one in named}


def test_plain_products_lie_beside_the_folder_of_the_originals(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series()
    stem = "sub-PID00770077/ses-20200102102300.25/00004-PLANTED_SERIES_WORDS"
    expected = (f"{stem}{RECORD}", f"{stem}.json", f"{stem}.nii.gz", f"{stem}.png")
    assert bench.convert(anonymize=False).products == expected
    assert set(bench.products()) == set(expected)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_no_planted_identifier_is_in_any_product_of_the_release(
    bench: Bench, store_series: StoreSeries, modality: str
) -> None:
    store_series(modality)
    bench.convert(anonymize=True)
    assert len(bench.products()) == 4
    for content in bench.products().values():
        for echo in ECHOES:
            assert echo.encode() not in content.upper(), echo


def test_plain_products_name_no_patient(bench: Bench, store_series: StoreSeries) -> None:
    store_series()
    bench.convert(anonymize=False)
    names = [PLANTED["PatientName"], PLANTED["PatientID"], PLANTED["ImageComments"][:20]]
    for content in bench.products().values():
        assert not any(name.encode() in content for name in names)


def test_a_plain_sidecar_keeps_what_dcm2niix_knows(bench: Bench, store_series: StoreSeries) -> None:
    store_series()
    product = one(bench.convert(anonymize=False), ".json")
    sidecar = json.loads((bench.out / product).read_text("utf-8"))
    assert sidecar["SeriesDescription"] == PLANTED["SeriesDescription"]
    assert sidecar["EchoTime"] == 0.003


def test_the_release_keeps_the_physics(bench: Bench, store_series: StoreSeries) -> None:
    store_series()
    product = one(bench.convert(anonymize=True), ".json")
    sidecar = json.loads((bench.out / product).read_text("utf-8"))
    assert {key: sidecar[key] for key in ("EchoTime", "FlipAngle", "MagneticFieldStrength")} == {
        "EchoTime": 0.003,
        "FlipAngle": 9,
        "MagneticFieldStrength": 3,
    }
    assert sidecar["ImageType"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert sidecar["SequenceName"] == "*tfl3d1"


def test_a_record_tells_how_the_products_were_made(bench: Bench, store_series: StoreSeries) -> None:
    store_series()
    bench.store_file(Path(str(get_testdata_file("reportsi.dcm"))))
    converted = bench.convert()
    record = json.loads((bench.out / one(converted, RECORD)).read_text("utf-8"))
    image = one(converted, ".nii.gz")
    assert record["dcm2niix"]["version"] == dcm2niix.__version__
    assert record["dcm2niix"]["arguments"] == list(ARGUMENTS)
    assert (record["instances"], record["converted"], record["slices_converted"]) == (6, 5, 5)
    assert record["excluded"] == {"structured_report": 1}
    (product,) = record["products"]
    assert (product["image"], product["shape"]) == ("00004-MR.nii.gz", [SIZE, SIZE, 5])
    digest = hashlib.sha256((bench.out / image).read_bytes()).hexdigest()
    size = (bench.out / image).stat().st_size
    told = {"name": "00004-MR.nii.gz", "bytes": size, "sha256": digest}
    assert product["files"][".nii.gz"] == told


def test_mosaics_keep_their_shape_and_their_gradients(
    bench: Bench, mosaics: Sequence[Path]
) -> None:
    for mosaic in mosaics:
        bench.store_file(mosaic)
    converted = bench.convert()
    assert outcome(converted) == ("converted", "")
    assert by_suffix(converted) == {".bval", ".bvec", ".json", ".nii.gz"}
    volumes = load(bench, one(converted, ".nii.gz"))
    assert volumes.shape == (128, 128, 48, 2)
    bval = next(content for name, content in bench.products().items() if name.endswith(".bval"))
    assert sorted(bval.split()) == [b"0", b"1000"]


def test_a_repeated_conversion_gives_the_same_bytes(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series()
    first = bench.convert()
    raw = {name: (bench.out / name).read_bytes() for name in first.products}
    assert bench.convert() == first
    assert {name: (bench.out / name).read_bytes() for name in bench.products()} == raw


def test_a_damaged_product_is_replaced_by_the_next_run(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series()
    product = one(bench.convert(), ".nii.gz")
    good = (bench.out / product).read_bytes()
    (bench.out / product).write_bytes(b"half")
    bench.convert()
    assert (bench.out / product).read_bytes() == good


def test_the_compressed_file_has_neither_time_nor_name(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series()
    raw = (bench.out / one(bench.convert(), ".nii.gz")).read_bytes()
    flags, time = raw[3], raw[4:8]
    assert (flags, time) == (0, bytes(4))


def test_nothing_is_left_in_the_working_area(bench: Bench, store_series: StoreSeries) -> None:
    store_series()
    bench.convert()
    assert list(bench.archive.run.iterdir()) == []


def test_only_listed_instances_take_part(bench: Bench, store_series: StoreSeries) -> None:
    store_series(count=6)
    bench.uids.pop()
    converted = bench.convert()
    assert load(bench, one(converted, ".nii.gz")).shape == (SIZE, SIZE, 5)


def test_each_echo_has_its_own_file(bench: Bench, store_series: StoreSeries) -> None:
    store_series(
        count=6,
        changes={
            "EchoTime": lambda number: 3 + 3 * (number // 3),
            "EchoNumbers": lambda number: 1 + number // 3,
            "ImagePositionPatient": lambda number: [-16, -16, 2 * (number % 3)],
        },
    )
    converted = bench.convert()
    assert outcome(converted) == ("converted", "")
    assert by_suffix(converted) == {"-e1.json", "-e1.nii.gz", "-e2.json", "-e2.nii.gz"}


def test_uneven_slices_are_converted_with_a_warning_and_an_equidistant_copy(
    bench: Bench, store_series: StoreSeries
) -> None:
    gaps = [0, 2, 4, 8, 10, 14, 20]
    store_series(
        "CT",
        count=7,
        changes={"ImagePositionPatient": lambda number: [-16, -16, gaps[number]]},
    )
    converted = bench.convert()
    assert outcome(converted) == ("converted_with_warnings", "slice_distance_varies")
    assert by_suffix(converted) == {".json", ".nii.gz", "-Eq_1.nii.gz"}


def test_slices_that_do_not_fill_their_volumes_are_incomplete_without_products(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series(
        count=5, changes={"ImagePositionPatient": lambda number: [-16, -16, 2 * (number % 3)]}
    )
    converted = bench.convert()
    assert outcome(converted) == ("incomplete", "volumes_incomplete")
    assert (converted.slices_expected, converted.slices_missing) == (5, 1)
    assert not bench.out.exists()


def test_a_series_with_a_slice_missing_is_incomplete_with_the_number(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series("CT", count=10)
    bench.uids.pop(4)
    converted = bench.convert()
    assert outcome(converted) == ("incomplete", "slices_missing")
    told = converted.slices_expected, converted.slices_converted, converted.slices_missing
    assert told == (9, 9, 1)
    assert by_suffix(converted) == {".json", ".nii.gz", "-Eq_1.nii.gz"}


def test_a_slice_that_gets_lost_is_told_of(
    bench: Bench, store_series: StoreSeries, tmp_path: Path
) -> None:
    store_series(count=5)
    lossy = tmp_path / "lossy"
    # The last argument is the folder with the links.
    lossy.write_text(
        '#!/bin/sh\nfor folder in "$@"; do :; done\n'
        f'rm "$folder/000004.dcm"\nexec {Dcm2niix(1).executable} "$@"\n'
    )
    lossy.chmod(0o755)
    converted = bench.convert(converter=Dcm2niix(timeout_s=60, executable=str(lossy)))
    assert outcome(converted) == ("incomplete", "slices_differ")
    assert (converted.slices_expected, converted.slices_converted) == (5, 4)
    assert load(bench, one(converted, ".nii.gz")).shape == (SIZE, SIZE, 4)


def test_a_truncated_instance_fails_the_series(bench: Bench, store_series: StoreSeries) -> None:
    store_series()
    path = bench.archive.instance_path(bench.order(anonymize=True).series.series_uid, bench.uids[2])
    path.write_bytes(path.read_bytes()[:-1000])
    assert outcome(bench.convert()) == ("failed", "truncated_instance")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("reportsi.dcm", "structured_report"),
        ("rtplan.dcm", "radiotherapy_object"),
        ("waveform_ecg.dcm", "waveform"),
    ],
)
def test_objects_without_pixels_are_no_images(bench: Bench, name: str, reason: str) -> None:
    bench.store_file(Path(str(get_testdata_file(name))))
    assert outcome(bench.convert()) == ("not_an_image", reason)
    assert not bench.out.exists()


def test_a_report_among_images_does_not_disturb(bench: Bench, store_series: StoreSeries) -> None:
    store_series()
    bench.store_file(Path(str(get_testdata_file("reportsi.dcm"))))
    assert outcome(bench.convert()) == ("converted", "")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("SC_rgb_small_odd.dcm", "secondary_capture"), ("ExplVR_BigEnd.dcm", "ultrasound")],
)
def test_pictures_that_may_show_names_stay_out_of_the_release(
    bench: Bench, name: str, reason: str
) -> None:
    bench.store_file(Path(str(get_testdata_file(name))))
    converted = bench.convert()
    assert outcome(converted) == ("withheld", reason)
    assert converted.excluded == {reason: 1}
    assert not bench.out.exists()
    assert bench.convert(anonymize=False).state == "converted"


def test_a_dose_sheet_among_images_is_left_out_of_the_release(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series(
        "CT", changes={"ImageType": lambda n: ["DERIVED", "SCREEN SAVE"] if n == 4 else []}
    )
    converted = bench.convert()
    assert outcome(converted) == ("converted", "")
    assert converted.excluded == {"burned_in_annotation": 1}
    assert load(bench, one(converted, ".nii.gz")).shape == (SIZE, SIZE, 4)


def test_drawings_of_overlays_stay_out_of_the_release(bench: Bench) -> None:
    bench.store_file(Path(str(get_testdata_file("examples_overlay.dcm"))))
    assert by_suffix(bench.convert()) == {".json", ".nii.gz"}
    assert "-ROI1.nii.gz" in {
        name[name.index("-ROI") :]
        for name in bench.convert(anonymize=False).products
        if "-ROI" in name
    }


def test_a_multi_frame_image_counts_its_frames(bench: Bench) -> None:
    bench.store_file(Path(str(get_testdata_file("rtdose.dcm"))))
    converted = bench.convert()
    assert outcome(converted) == ("converted", "")
    assert (converted.slices_expected, converted.slices_converted) == (15, 15)
    assert load(bench, one(converted, ".nii.gz")).shape == (10, 10, 15)


def test_an_unsupported_transfer_syntax_is_named(bench: Bench) -> None:
    bench.store_file(Path(str(get_testdata_file("image_dfl.dcm"))))
    converted = bench.convert(anonymize=False)
    assert outcome(converted) == ("unsupported", "transfer_syntax")


def test_garbage_fails(bench: Bench) -> None:
    bench.store_bytes("1.2.826.0.1.4711.3.77", bytes(range(256)) * 20)
    assert outcome(bench.convert()) == ("failed", "unreadable")


def test_garbage_among_images_makes_a_series_incomplete(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series()
    bench.store_bytes("1.2.826.0.1.4711.3.77", bytes(range(256)) * 20)
    converted = bench.convert()
    assert outcome(converted) == ("incomplete", "unreadable_instances")
    assert converted.excluded == {"unreadable": 1}
    assert by_suffix(converted) == {".json", ".nii.gz"}


def test_a_missing_original_is_refused(bench: Bench, store_series: StoreSeries) -> None:
    store_series()
    bench.uids.append("1.2.826.0.1.4711.3.78")
    with pytest.raises(RejectedError) as refusal:
        bench.convert()
    assert refusal.value.code == "original_missing"


def test_an_identifier_among_the_codes_keeps_everything_inside(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series(
        changes={"ImageType": lambda _: ["ORIGINAL", "PRIMARY", f"ID {PLANTED['PatientID']}"]}
    )
    with pytest.raises(RejectedError) as refusal:
        bench.convert()
    assert refusal.value.code == "nifti_echo"
    assert not bench.out.exists()


def test_a_converter_that_takes_too_long_is_stopped(
    bench: Bench, store_series: StoreSeries, tmp_path: Path
) -> None:
    store_series()
    stand_in = tmp_path / "slow"
    stand_in.write_text("#!/bin/sh\nexec sleep 60\n")
    stand_in.chmod(0o755)
    converted = bench.convert(converter=Dcm2niix(timeout_s=0.2, executable=str(stand_in)))
    assert outcome(converted) == ("failed", "timeout")
    assert list(bench.archive.run.iterdir()) == []


GREEN_TIMEOUT = """
import eventlet
eventlet.monkey_patch()
import sys
from pathlib import Path
from pacstream_converter.dcm2niix import ARGUMENTS, Dcm2niix
ticks = []
def tick():
    while True:
        ticks.append(1)
        eventlet.sleep(0.01)
eventlet.spawn(tick)
verdict, images = Dcm2niix(0.5, sys.argv[1]).convert(Path(sys.argv[2]), Path(sys.argv[2]))
print(verdict.state, verdict.reason, len(images), len(ticks) > 10)
"""


def test_the_deadline_holds_under_eventlet_and_blocks_no_other_greenlet(tmp_path: Path) -> None:
    stand_in = tmp_path / "slow"
    stand_in.write_text("#!/bin/sh\nexec sleep 60\n")
    stand_in.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", GREEN_TIMEOUT, str(stand_in), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == ["failed", "timeout", "0", "True"]


def test_a_converter_that_is_killed_fails_the_series(
    bench: Bench, store_series: StoreSeries, tmp_path: Path
) -> None:
    store_series()
    stand_in = tmp_path / "crash"
    stand_in.write_text("#!/bin/sh\nkill -SEGV $$\n")
    stand_in.chmod(0o755)
    converted = bench.convert(converter=Dcm2niix(timeout_s=30, executable=str(stand_in)))
    assert outcome(converted) == ("failed", "dcm2niix_crashed")


def test_a_missing_executable_is_refused(bench: Bench, store_series: StoreSeries) -> None:
    store_series()
    with pytest.raises(RejectedError) as refusal:
        bench.convert(converter=Dcm2niix(timeout_s=30, executable="/nonexistent/dcm2niix"))
    assert refusal.value.code == "dcm2niix_missing"


@pytest.mark.parametrize("anonymize", [True, False])
def test_a_folder_outside_is_refused(
    bench: Bench, store_series: StoreSeries, anonymize: bool
) -> None:
    store_series()
    away = "../../../../away"
    with pytest.raises(ZoneError):
        bench.convert(anonymize=anonymize, folder=away, release_folder=away)
    assert not bench.out.exists()


def test_an_output_folder_that_can_not_be_one_is_refused(
    bench: Bench, store_series: StoreSeries, tmp_path: Path
) -> None:
    store_series()
    (tmp_path / "a_file").write_text("no folder")
    with pytest.raises(RejectedError) as refusal:
        bench.convert(out=str(tmp_path / "a_file"))
    assert refusal.value.code == "output_not_writable"
