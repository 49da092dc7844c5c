"""What a release says of pixels that are blacked out; whom regions are for; what if they fail."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames, get_frame
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    UltrasoundImageStorage,
)

from pacstream.durable import FileGroup
from pacstream_anonymizer.audit import Auditor
from pacstream_anonymizer.blackout import outside
from pacstream_anonymizer.deidentifier import (
    Learnt,
    Look,
    Parsed,
    Release,
    Released,
    Withheld,
    deidentify_instance,
    release_of,
)
from pacstream_anonymizer.explain import explain
from pacstream_anonymizer.gate import Gate
from pacstream_anonymizer.profile import DEFAULT, Profile
from pacstream_anonymizer.redaction import Redactor
from tests.unit.anonymizer.encoders import DEFLATED_FRAMES, compressed, deflated
from tests.unit.anonymizer.instances import (
    INSTANCE,
    KEY,
    an_instance,
    order_for,
    reason,
    released,
    released_path,
    saved,
)
from tests.unit.anonymizer.pictures import (
    COLUMNS,
    RECTANGLES,
    ROWS,
    a_picture,
    inside,
    knowing,
    samples_of,
)


def codes_of(data_set: Dataset) -> list[str]:
    return [item.CodeValue for item in data_set.DeidentificationMethodCodeSequence]


def test_a_release_says_what_was_done_to_its_pixels(tmp_path: Path) -> None:
    picture = a_picture(SmallestImagePixelValue=1, LargestImagePixelValue=2, IconImageSequence=[])
    after = released(picture, tmp_path, profile=knowing())
    assert after.BurnedInAnnotation == "NO"
    assert list(after.ImageType) == ["DERIVED", "SECONDARY"]
    assert after.DerivationDescription == "Burned-in annotation blacked out"
    assert "113101" in codes_of(after)
    assert "Option 113101" in list(after.DeidentificationMethod)
    assert "SmallestImagePixelValue" not in after
    assert "LargestImagePixelValue" not in after
    assert "IconImageSequence" not in after


def test_what_has_no_regions_claims_none(tmp_path: Path) -> None:
    other = an_instance(Manufacturer="OTHER", ImageType=["ORIGINAL", "PRIMARY"])
    after = released(other, tmp_path, profile=knowing())
    assert "113101" not in codes_of(after)
    assert after.ImageType[0] == "ORIGINAL"
    assert "BurnedInAnnotation" not in after
    assert after.PixelData == other.PixelData


SIGNATURE = {"model": "Scan 3", "software": "1.0\\2b", "modality": "OT"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"Manufacturer": " acme "}, ""),
        ({"Manufacturer": "ACME Inc."}, "secondary_capture"),
        ({"ManufacturerModelName": "Scan 30"}, "secondary_capture"),
        ({"SoftwareVersions": "1.0"}, "secondary_capture"),
        ({"Modality": "US"}, "secondary_capture"),
        ({"ImageType": ["ORIGINAL", "PRIMARY"]}, "secondary_capture"),
        ({"Rows": 34, "Columns": 37}, "secondary_capture"),
    ],
)
def test_regions_are_for_images_that_have_all_of_the_signature(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    picture = a_picture(**({"SoftwareVersions": ["1.0", "2b"]} | changes))
    profile = knowing(**SIGNATURE, image_type=("SECONDARY",))
    if expected:
        assert reason(picture, tmp_path, profile=profile) == expected
    else:
        assert "113101" in codes_of(released(picture, tmp_path, profile=profile))


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, ""),
        ({"SOPClassUID": UltrasoundImageStorage, "Modality": "US"}, ""),
        ({"ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"]}, "burned_in_annotation"),
        ({"SeriesDescription": "Dose Report"}, "burned_in_annotation"),
        ({"SOPClassUID": CTImageStorage, "ImageType": ["CT_SOM5 PROT"]}, "burned_in_annotation"),
        ({"RecognizableVisualFeatures": "YES"}, "recognizable_visual_features"),
    ],
)
def test_regions_answer_text_around_a_picture_and_neither_pages_nor_faces(
    tmp_path: Path, attributes: dict[str, Any], expected: str
) -> None:
    picture = a_picture(**attributes)
    if expected:
        assert reason(picture, tmp_path, profile=knowing()) == expected
    else:
        assert "113101" in codes_of(released(picture, tmp_path, profile=knowing()))


def test_a_decision_about_a_face_leaves_the_regions_black(tmp_path: Path) -> None:
    picture = a_picture(RecognizableVisualFeatures="YES")
    source = saved(picture, tmp_path / "source.dcm")
    with FileGroup() as files:
        release = release_of(order_for(picture), KEY, tmp_path, files, profile=knowing())
        result = release.add(source, waived=frozenset({"recognizable_visual_features"}))
        files.commit()
    assert isinstance(result, Released)
    assert result.waived == {"recognizable_visual_features"}
    assert not samples_of(result.path)[:, inside(RECTANGLES, ROWS, COLUMNS)].any()


def test_a_palettes_darkest_entry_is_black(tmp_path: Path) -> None:
    picture = a_picture(PhotometricInterpretation="PALETTE COLOR")
    lights = np.arange(256, dtype=np.uint16)[::-1] * 3 % 251 + 5
    lights[77] = 1
    for colour in ("Red", "Green", "Blue"):
        setattr(picture, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(picture, f"{colour}PaletteColorLookupTableData", lights.tobytes())
    after = released_path(picture, tmp_path, profile=knowing())
    is_inside = inside(RECTANGLES, ROWS, COLUMNS)
    found = samples_of(after)
    assert (found[:, is_inside] == 77).all()
    given = np.frombuffer(picture.PixelData, np.uint8).reshape(found.shape)
    assert np.array_equal(found[:, ~is_inside], given[:, ~is_inside])


def test_frames_of_deflate_stay_such(tmp_path: Path) -> None:
    picture = a_picture(3, BitsAllocated=16, BitsStored=12)
    given = np.frombuffer(picture.PixelData, "<u2").reshape(3, ROWS, COLUMNS)
    source = deflated(picture, 3, tmp_path / "source.dcm")
    result = deidentify_instance(source, order_for(picture), KEY, tmp_path, profile=knowing())
    assert isinstance(result, Released), result
    after = dcmread(result.path)
    assert after.file_meta.TransferSyntaxUID == DEFLATED_FRAMES
    expected = given.copy()
    expected[:, inside(RECTANGLES, ROWS, COLUMNS)] = 0
    assert inflated_frames(after) == [frame.tobytes() for frame in expected]


def inflated_frames(data_set: Dataset) -> list[bytes]:
    frames = generate_frames(data_set.PixelData, number_of_frames=data_set.NumberOfFrames)
    return [zlib.decompress(frame, -zlib.MAX_WBITS) for frame in frames]


def test_an_image_with_functional_groups_keeps_its_type_and_says_what_was_done(
    tmp_path: Path,
) -> None:
    """A derived one may not have the attributes of its acquisition."""
    picture = a_picture(2, SharedFunctionalGroupsSequence=Sequence([Dataset()]))
    after = released(picture, tmp_path, profile=knowing())
    assert after.ImageType[0] == "ORIGINAL"
    assert "blacked out" in after.DerivationDescription


# Ultrasound: what the image names as measured stays, all else is black.


def region(left: int, top: int, right: int, bottom: int, form: int = 1) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat = form
    item.RegionDataType = 1
    item.RegionFlags = 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    return item


def an_ultrasound(*regions: Dataset, **attributes: Any) -> Dataset:
    given = {"SOPClassUID": UltrasoundImageStorage, "Modality": "US", **attributes}
    if regions:
        given["SequenceOfUltrasoundRegions"] = Sequence(regions)
    return a_picture(2, **given)


KEEPING = Profile(DEFAULT.options, name="us", keep_ultrasound_regions=True)


def test_ultrasound_is_black_but_for_its_regions(tmp_path: Path) -> None:
    picture = an_ultrasound(
        region(2, 3, 20, 15), region(18, 10, 30, 30), region(0, 0, 5, 5, form=5)
    )
    after = released_path(picture, tmp_path, profile=KEEPING)
    kept = inside(((2, 3, 19, 13), (18, 10, 13, 21)), ROWS, COLUMNS)
    given, found = samples_of(tmp_path / "in" / "source.dcm"), samples_of(after)
    assert not found[:, ~kept].any()
    assert np.array_equal(found[:, kept], given[:, kept])
    assert "113101" in codes_of(dcmread(after))


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ((), "ultrasound"),
        ((region(0, 0, 5, 5, form=0),), "ultrasound"),
        ((region(0, 0, COLUMNS - 1, ROWS - 1),), "regions_unfit"),
        ((region(0, 0, COLUMNS, ROWS),), "regions_unfit"),
        ((region(0, 0, COLUMNS + 1, 9),), "regions_unfit"),
        ((region(9, 9, 4, 20),), "regions_unfit"),
    ],
)
def test_ultrasound_without_regions_that_can_be_is_withheld(
    tmp_path: Path, regions: tuple[Dataset, ...], expected: str
) -> None:
    assert reason(an_ultrasound(*regions), tmp_path, profile=KEEPING) == expected


def test_a_devices_rectangles_are_black_inside_the_regions_too(tmp_path: Path) -> None:
    profile = Profile(
        DEFAULT.options, regions=knowing((5, 5, 4, 4)).regions, keep_ultrasound_regions=True
    )
    after = released_path(an_ultrasound(region(2, 3, 20, 15)), tmp_path, profile=profile)
    kept = inside(((2, 3, 19, 13),), ROWS, COLUMNS) & ~inside(((5, 5, 4, 4),), ROWS, COLUMNS)
    assert not samples_of(after)[:, ~kept].any()
    assert samples_of(after)[:, kept].any()


def test_regions_of_other_classes_keep_nothing(tmp_path: Path) -> None:
    picture = a_picture(SequenceOfUltrasoundRegions=Sequence([region(2, 3, 20, 15)]))
    assert reason(picture, tmp_path, profile=KEEPING) == "secondary_capture"


def test_the_rest_of_an_image_is_covered_once_by_rectangles() -> None:
    random = np.random.default_rng(3)
    for _ in range(200):
        kept = []
        for _ in range(random.integers(1, 5)):
            left, top = int(random.integers(0, 11)), int(random.integers(0, 7))
            kept.append(
                (left, top, int(random.integers(left + 1, 13)), int(random.integers(top + 1, 9)))
            )
        covered = np.zeros((8, 12), int)
        for left, top, width, height in outside(kept, 12, 8):
            covered[top : top + height, left : left + width] += 1
        expected = np.ones((8, 12), int)
        for left, top, right, bottom in kept:
            expected[top:bottom, left:right] = 0
        assert np.array_equal(covered, expected)


# The process that decodes.

STAND_IN = """
import json, os, socket, sys, time
line = socket.socket(fileno=int(sys.argv[1])).makefile("rwb")
for request in line:
    question = json.loads(request)
    with open(sys.argv[0] + ".asked", "a") as asked:
        print(question["do"], os.getpid(), file=asked)
    BODY
    line.write(b"{}\\n")
    line.flush()
"""


def standing_in(folder: Path, body: str) -> Redactor:
    script = folder / "child.py"
    script.write_text(STAND_IN.replace("BODY", body))
    return Redactor((sys.executable, str(script)), answer_s=1.0)


Add = Callable[[Dataset, Redactor], Released | Withheld]


@pytest.fixture
def adding(tmp_path: Path) -> Add:
    def add(picture: Dataset, redactor: Redactor) -> Released | Withheld:
        source = compressed(picture, 1, JPEGLSLossless, tmp_path / "source.dcm")
        with FileGroup() as files:
            made = release_of(order_for(picture), KEY, tmp_path / "out", files, profile=knowing())
            result = Release(
                made.series, KEY, made.folder, files, profile=knowing(), redactor=redactor
            ).add(source)
            files.commit()
        redactor.close()
        assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        return result

    return add


@pytest.mark.parametrize(
    "body",
    ["os._exit(1)", "os.kill(os.getpid(), 9)", "time.sleep(30)", "pass", "line.write(b'[]')"],
)
def test_a_child_that_dies_hangs_or_says_nothing_withholds_the_instance(
    tmp_path: Path, adding: Add, body: str
) -> None:
    assert adding(a_picture(), standing_in(tmp_path, body)) == Withheld("regions_not_applied")


def test_a_child_that_lies_about_its_work_is_found_out(tmp_path: Path, adding: Add) -> None:
    """It writes the element that was there, identified as it is."""
    body = """
    if question["do"] == "black_out":
        element = open(question["source"], "rb").read()[question["offset"] - 12 :]
        open(question["target"], "wb").write(element)
        answer = {"photometric": "MONOCHROME2", "digest": "0"}
        line.write(json.dumps(answer).encode() + b"\\n")
        line.flush()
        continue
    """
    redactor = standing_in(tmp_path, body)
    assert adding(a_picture(), redactor) == Withheld("regions_not_applied")
    assert [line.split()[0] for line in (tmp_path / "child.py.asked").read_text().splitlines()][
        :2
    ] == ["black_out", "look"]


def test_a_killed_child_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    redactor = Redactor()
    results = []
    for number in range(3):
        picture = a_picture(SOPInstanceUID=f"{INSTANCE}.{number}")
        source = compressed(picture, 1, JPEGLSLossless, tmp_path / f"{number}.dcm")
        with FileGroup() as files:
            made = release_of(order_for(picture), KEY, tmp_path / "out", files, profile=knowing())
            release = Release(
                made.series, KEY, made.folder, files, profile=knowing(), redactor=redactor
            )
            results.append(release.add(source))
            assert not files.commit()
        child = redactor._child._child
        assert child is not None
        os.kill(child.process.pid, 9)
        child.process.wait()
    redactor.close()
    assert all(isinstance(one, Released) and one.path.is_file() for one in results)


def test_pixels_that_can_not_be_decoded_are_withheld(tmp_path: Path) -> None:
    picture = a_picture()
    source = compressed(picture, 1, JPEGLSLossless, tmp_path / "source.dcm")
    content = source.read_bytes()
    source.write_bytes(content[:-400] + bytes(392) + content[-8:])
    result = deidentify_instance(source, order_for(picture), KEY, tmp_path, profile=knowing())
    assert result == Withheld("regions_not_applied")


def test_what_the_child_logs_tells_nothing(
    tmp_path: Path, adding: Add, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        adding(a_picture(), standing_in(tmp_path, "os._exit(1)"))
    assert "redactor lost" in caplog.text
    assert "Quixotesson" not in caplog.text
    assert INSTANCE not in caplog.text


# The same in all ways to a release.


def several(folder: Path) -> list[Path]:
    """Native and compressed instances of one series."""
    sources = []
    for number in range(6):
        picture = a_picture(SOPInstanceUID=f"{INSTANCE}.{number}", InstanceNumber=number)
        path = folder / f"{number}.dcm"
        if number % 2:
            compressed(picture, 1, JPEGLSLossless, path)
        else:
            saved(picture, path)
        sources.append(path)
    return sources


def test_with_memory_and_without_the_bytes_are_the_same(tmp_path: Path) -> None:
    sources = several(tmp_path / "in")
    order = order_for(a_picture())
    made: list[dict[str, bytes]] = []
    for name, gate, parsed, learnt in (
        ("on", Gate(), Parsed(), Learnt()),
        ("off", Gate(0), Parsed(0), Learnt(0)),
    ):
        out = tmp_path / name
        with FileGroup() as files:
            given = release_of(order, KEY, out, files, profile=knowing(), gate=gate)
            release = Release(
                given.series,
                KEY,
                given.folder,
                files,
                profile=knowing(),
                gate=gate,
                parsed=parsed,
                learnt=learnt,
            )
            assert all(isinstance(release.add(one), Released) for one in sources)
            files.commit()
        made.append({path.name: path.read_bytes() for path in out.rglob("*.dcm")})
    assert len(made[0]) == len(sources)
    assert made[0] == made[1]


def test_a_look_is_at_what_is_to_be_released(tmp_path: Path) -> None:
    shown: list[bool] = []

    def look(path: Path) -> str:
        shown.append(bool(samples_of(path)[:, inside(RECTANGLES, ROWS, COLUMNS)].any()))
        return "text_in_pixels" if len(shown) > 1 else ""

    look_: Look = look
    source = saved(a_picture(), tmp_path / "source.dcm")
    out = tmp_path / "out"
    with FileGroup() as files:
        order = order_for(a_picture())
        release = release_of(order, KEY, out, files, profile=knowing(), look=look_)
        assert isinstance(release.add(source), Released)
        files.commit()
        assert release.add(source) == Withheld("text_in_pixels")
        files.commit()
    assert shown == [False, False]
    assert len(list(out.rglob("*"))) - len([one for one in out.rglob("*") if one.is_dir()]) == 1


def test_the_audit_names_the_rule_and_the_new_pixels(tmp_path: Path) -> None:
    source = saved(a_picture(), tmp_path / "source.dcm")
    auditor = Auditor(tmp_path, "b1", "trial", KEY, knowing())
    with FileGroup() as files:
        release = release_of(
            order_for(a_picture()), KEY, tmp_path, files, profile=knowing(), trail=auditor.touched
        )
        auditor.begin()
        result = release.add(source)
        auditor.end(INSTANCE, result)
        files.commit()
    auditor.write()
    (path,) = (tmp_path / "audit" / "b1").glob("*.jsonl")
    line = json.loads(path.read_text())
    assert ["7FE00010", "regions:1", "black", ""] in line["touched"]
    assert isinstance(result, Released)
    assert line["pixels"] == result.pixels
    assert len(line["pixels"]) == 64


def test_an_explanation_has_rectangles_and_signature(tmp_path: Path) -> None:
    source = saved(a_picture(), tmp_path / "source.dcm")
    known = explain(source, knowing())
    assert known.reason == ""
    assert known.blackout is not None
    assert known.blackout.rules == (("regions:1", RECTANGLES),)
    unknown = explain(source, DEFAULT)
    assert unknown.reason == "secondary_capture"
    assert unknown.signature is not None
    assert 'manufacturer = "ACME"\nmodel = "Scan 3"' in unknown.signature.table


FRUGAL = """
import resource, sys
from pathlib import Path
from pacstream_anonymizer.deidentifier import Released, deidentify_instance
from pacstream_anonymizer.redaction import REDACTOR
from tests.unit.anonymizer.instances import KEY, order_for
from tests.unit.anonymizer.pictures import a_picture, knowing

def release(source):
    profile = knowing(rows=1024, columns=1024)
    order = order_for(a_picture())
    result = deidentify_instance(Path(source), order, KEY, Path(sys.argv[3]), profile=profile)
    assert isinstance(result, Released), result

def kilobytes(process, name):
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

release(sys.argv[1])
child = REDACTOR._child._child.process.pid
before = kilobytes(child, "VmHWM")
limit = kilobytes("self", "VmData") * 1024 + (12 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
release(sys.argv[2])
print(kilobytes(child, "VmHWM") - before)
REDACTOR.close()
"""


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_many_frames_are_never_held_at_once(tmp_path: Path, syntax: str) -> None:
    """32 MB go through a process that may have 12 more, and another that does not need them."""
    paths = []
    frame = bytes(range(256)) * 4096
    for frames in (1, 32):
        size = {"Rows": 1024, "Columns": 1024}
        path = tmp_path / f"{frames}.dcm"
        picture = a_picture(frames, PixelData=frame * frames, **size)
        picture["PixelData"].VR = "OB"
        if syntax == RLELossless:
            one = dcmread(compressed(a_picture(PixelData=frame, **size), 1, syntax, path))
            picture.PixelData = encapsulate([get_frame(one.PixelData, 0)] * frames)
        paths.append(str(saved(picture, path, syntax)))
    command = [sys.executable, "-c", FRUGAL, *paths, str(tmp_path / "out")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 12 << 10
