"""What holds for any data set: made by hypothesis, from attributes of the whole dictionary."""

from __future__ import annotations

import datetime
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement

from tests.answer_key.cast import ROOT
from tests.answer_key.outputs import uid_pairs
from tests.answer_key.scorer import needles
from tests.unit.anonymizer.instances import an_instance, released_path

BOUNDED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TOKEN = "Zvamquistholm"
"""The patient's surname: wherever it stands, it may not come out."""
PATIENT = {"PatientName": f"{TOKEN}^Odo", "PatientID": "MRN7766551"}

TEXT_VRS = ("LO", "SH", "ST", "LT", "UT", "UC", "PN", "AE")
OF_THE_FILE = frozenset({0x00080005, 0x00100010, 0x00100020})
TAGS = {
    vr: [
        tag
        for tag, entry in sorted(DicomDictionary.items())
        if entry[0] == vr and tag >> 16 >= 8 and tag >> 16 < 0x5000 and tag not in OF_THE_FILE
    ]
    for vr in (*TEXT_VRS, "UI", "DA", "SQ")
}
OF_A_CLASS = ("Class", "TransferSyntax", "CodingScheme", "Context", "MappingResource")
UIDS = [
    tag
    for tag in TAGS["UI"]
    if not any(word in DicomDictionary[tag][4] for word in OF_A_CLASS)
    and tag not in (0x00080018, 0x0020000D, 0x0020000E)
]
"""Of instances, and not those that make the file what it is."""

texts = st.tuples(
    st.sampled_from(TEXT_VRS).flatmap(lambda vr: st.tuples(st.just(vr), st.sampled_from(TAGS[vr]))),
    st.sampled_from((TOKEN, TOKEN.upper(), f"for {TOKEN}", f"T1 {TOKEN} sag", "MRN7766551")),
)
uids = st.tuples(st.sampled_from(UIDS), st.integers(1, 9).map(lambda n: f"{ROOT}.77.{n}"))
paths = st.lists(st.sampled_from(TAGS["SQ"]), max_size=5)


def placed(data_set: Dataset, path: list[int], element: DataElement) -> None:
    """Put `element` into the first item at `path`; the sequences that it needs are made."""
    for tag in path:
        if tag not in data_set:
            data_set.add(DataElement(tag, "SQ", [Dataset()]))
        data_set = data_set[tag].value[0]
    data_set.add(element)


@BOUNDED
@given(st.lists(st.tuples(paths, texts), min_size=5, max_size=25))
def test_no_planted_text_survives(
    plants: list[tuple[list[int], tuple[tuple[str, int], str]]],
) -> None:
    data_set = an_instance(**PATIENT)
    for path, ((vr, tag), text) in plants:
        placed(data_set, path, DataElement(tag, vr, text[:16] if vr in ("SH", "AE") else text))
    with tempfile.TemporaryDirectory() as folder:
        content = released_path(data_set, Path(folder)).read_bytes().lower()
    for token in (TOKEN, "MRN7766551"):
        assert not any(needle in content for needle in needles(token))


@BOUNDED
@given(st.lists(st.tuples(paths, uids), min_size=2, max_size=20))
def test_uids_go_one_to_one(plants: list[tuple[list[int], tuple[int, str]]]) -> None:
    data_set = an_instance(**PATIENT)
    for path, (tag, uid) in plants:
        placed(data_set, path, DataElement(tag, "UI", uid))
    with tempfile.TemporaryDirectory() as folder:
        after = dcmread(released_path(data_set, Path(folder)))
    pairs = {pair for pair in uid_pairs(data_set, after) if pair[0].startswith(ROOT)}
    assert len({before for before, _ in pairs}) == len(pairs) == len({new for _, new in pairs})


@BOUNDED
@given(
    st.lists(st.dates(datetime.date(1990, 1, 1), datetime.date(2026, 1, 1)), min_size=2, max_size=6)
)
def test_days_between_dates_stay(days: list[datetime.date]) -> None:
    shifts = set()
    for day in days:
        data_set = an_instance(**PATIENT, StudyDate=f"{day:%Y%m%d}")
        with tempfile.TemporaryDirectory() as folder:
            after = dcmread(released_path(data_set, Path(folder))).StudyDate
        shifts.add(datetime.datetime.strptime(after, "%Y%m%d").date() - day)
    assert len(shifts) == 1
    assert shifts.pop().days < 0


@BOUNDED
@given(
    st.lists(st.tuples(paths, texts), max_size=10), st.lists(st.tuples(paths, uids), max_size=10)
)
def test_twice_gives_the_same_bytes(
    plants: list[tuple[list[int], tuple[tuple[str, int], str]]],
    references: list[tuple[list[int], tuple[int, str]]],
) -> None:
    data_set = an_instance(**PATIENT)
    for path, ((vr, tag), text) in plants:
        placed(data_set, path, DataElement(tag, vr, text[:16] if vr in ("SH", "AE") else text))
    for path, (tag, uid) in references:
        placed(data_set, path, DataElement(tag, "UI", uid))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first = released_path(data_set, Path(one))
        second = released_path(data_set, Path(other))
        assert first.read_bytes() == second.read_bytes()
        assert first.relative_to(one) == second.relative_to(other)


def test_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    ours = released_path(an_instance(**PATIENT), tmp_path / "here")
    script = (
        "import sys; from pathlib import Path;"
        "from tests.unit.anonymizer.test_properties import PATIENT;"
        "from tests.unit.anonymizer.instances import an_instance, released_path;"
        "print(released_path(an_instance(**PATIENT), Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "there")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    theirs = Path(done.stdout.strip())
    assert theirs.read_bytes() == ours.read_bytes()
    assert theirs.relative_to(tmp_path / "there") == ours.relative_to(tmp_path / "here")
