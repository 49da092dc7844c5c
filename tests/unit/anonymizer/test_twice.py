"""A second de-identification appends its method codes, maps and shifts again, and changes nothing
else."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, SegmentationStorage

from pacstream_anonymizer import codes, descriptors, values
from pacstream_anonymizer.actions import FULL_DATES, RETAIN_UIDS
from pacstream_anonymizer.profile import DEFAULT, Profile
from tests.answer_key.cast import ROOT
from tests.answer_key.key import PROFILES
from tests.unit.anonymizer.instances import an_instance, released_path
from tests.unit.anonymizer.test_properties import PATIENT, TAGS, TOKEN, UIDS, paths, placed

BOUNDED = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),  # to shrink a failure takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MANY = settings(max_examples=300, deadline=None, derandomize=True)

MAPPED = frozenset({"UI", "DA", "DT"})
"""VRs of what is mapped or shifted again: another project's key would do it, too."""
OF_THE_PATIENT = frozenset({0x00100010, 0x00100020})
METHOD_CODES = 0x00120064

WORDS = (
    *("T1", "t2", "sag", "AxT2Flair", "brain", "Schädel", "C", "w/o", "w/", "with", "and", "mit"),
    *("3", "12", "1.5", "20240229", "p2", "3mm", "b1000", "2x2x2", "H30s", TOKEN, "xx", "É", "#7"),
)
BETWEEN = (" ", "_", "-", "+", "/", ".", ",", "*", ":", "  ", " - ", "(", ")", "\\", "", " w/ ")
descriptions = st.lists(
    st.tuples(st.sampled_from(WORDS), st.sampled_from(BETWEEN)), min_size=1, max_size=9
).map(lambda parts: "".join(word + sign for word, sign in parts))

SIZES = {"SH": 16, "LO": 64, "AE": 16, "PN": 64}
plants = st.tuples(
    paths,
    st.one_of(
        st.tuples(st.sampled_from(("LO", "SH", "ST", "UT", "PN", "AE")), descriptions).flatmap(
            lambda pair: st.sampled_from(TAGS[pair[0]]).map(
                lambda tag: DataElement(tag, pair[0], pair[1][: SIZES.get(pair[0])])
            )
        ),
        st.tuples(st.sampled_from(TAGS["DA"]), st.sampled_from(("20240229", "20230101", ""))).map(
            lambda pair: DataElement(pair[0], "DA", pair[1])
        ),
        st.tuples(st.sampled_from(UIDS), st.integers(1, 9)).map(
            lambda pair: DataElement(pair[0], "UI", f"{ROOT}.77.{pair[1]}")
        ),
    ),
)
classes = st.sampled_from((CTImageStorage, EnhancedCTImageStorage, SegmentationStorage))
PROFILES_BY_NAME = {name: Profile(options) for name, options in PROFILES.items()}
KEEPING = Profile(DEFAULT.options & {"clean_descriptors"} | {FULL_DATES, RETAIN_UIDS})


def twice(data_set: Dataset, folder: Path, profile: Profile) -> tuple[Dataset, Dataset, Path]:
    once = dcmread(released_path(data_set, folder / "1", profile=profile))
    again = released_path(dcmread(once.filename), folder / "2", profile=profile)
    return once, dcmread(again), again


def changed(one: Dataset, other: Dataset, path: str = "") -> Iterator[tuple[str, DataElement]]:
    """What is not the same in both, or only in one of them."""
    for tag in sorted({*one.keys(), *other.keys()}):
        first, second = one.get(tag), other.get(tag)
        if first is None or second is None or first.VR != second.VR:
            yield f"{path}{tag}: {first} / {second}", first or second
        elif first.VR == "SQ" and len(first.value) == len(second.value):
            for items in zip(first.value, second.value, strict=True):
                yield from changed(*items, path=f"{path}{tag}.")
        elif first.value != second.value:
            yield f"{path}{tag}: {first.value!r} / {second.value!r}", first


def unexpected(once: Dataset, again: Dataset) -> list[str]:
    return [
        said
        for said, element in changed(once, again)
        if not (element.VR in MAPPED and said.count("None") == 0)
        and element.tag not in OF_THE_PATIENT | {METHOD_CODES}
    ]


def code_values(data_set: Dataset) -> list[str]:
    return [item.CodeValue for item in data_set.DeidentificationMethodCodeSequence]


@pytest.mark.parametrize("name", PROFILES)
def test_nothing_changes_but_what_is_mapped_and_the_codes(name: str) -> None:
    @BOUNDED
    @given(classes, st.lists(plants, min_size=3, max_size=20))
    def holds(sop_class: str, planted: list[tuple[list[int], DataElement]]) -> None:
        data_set = an_instance(**PATIENT, SOPClassUID=sop_class)
        for path, element in planted:
            placed(data_set, path, element)
        with tempfile.TemporaryDirectory() as folder:
            once, again, _ = twice(data_set, Path(folder), PROFILES_BY_NAME[name])
        assert unexpected(once, again) == []
        assert code_values(again) == 2 * code_values(once)

    holds()


def test_nothing_at_all_changes_if_uids_and_dates_are_retained(tmp_path: Path) -> None:
    given = an_instance(
        **PATIENT, SeriesDescription="T1 sag", ContentDate="20240229", AcquisitionTime="101530"
    )
    once, again, _ = twice(given, tmp_path, KEEPING)
    tags = {element.tag for _, element in changed(once, again)}
    assert tags == {0x00100010, 0x00100020, METHOD_CODES}


def test_the_methods_of_two_versions_stand_side_by_side_and_text_of_others_does_not(
    tmp_path: Path,
) -> None:
    method = ["pacstream 0.0.7", "Option 113106", f"by {TOKEN}", "pacstream for Doctorow"]
    data_set = an_instance(**PATIENT, DeidentificationMethod=method)
    once, again, _ = twice(data_set, tmp_path, DEFAULT)
    assert once.DeidentificationMethod[:2] == method[:2]
    assert all(text.startswith(("pacstream", "PS3", "Option")) for text in once[0x00120063].value)
    assert not any("Doctorow" in text for text in once.DeidentificationMethod)
    assert again.DeidentificationMethod == once.DeidentificationMethod


def test_a_second_time_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    _, _, ours = twice(an_instance(**PATIENT), tmp_path / "here", DEFAULT)
    script = (
        "import sys; from pathlib import Path;"
        "from pacstream_anonymizer.profile import DEFAULT;"
        "from tests.unit.anonymizer.test_twice import PATIENT, an_instance, twice;"
        "print(twice(an_instance(**PATIENT), Path(sys.argv[1]), DEFAULT)[2])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "there")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert Path(done.stdout.strip()).read_bytes() == ours.read_bytes()


@MANY
@given(descriptions)
def test_a_clean_description_stays_as_it_is(text: str) -> None:
    clean = descriptors.cleaned(text)
    assert descriptors.cleaned(clean) == clean


@pytest.mark.parametrize("value", ["12738006", "113105", "T-A0100", "mm", "LOCAL 7", "REMOVED"])
@pytest.mark.parametrize("scheme", ["SCT", "SRT", "DCM", "UCUM", "99HOSPITAL", "99REMOVED", ""])
@pytest.mark.parametrize("meaning", ["", "Brain", "Brain of Quixotesson"])
def test_a_clean_code_stays_as_it_is(value: str, scheme: str, meaning: str) -> None:
    once = codes.cleaned(value, scheme, meaning, "2.0")
    assert codes.cleaned(once.value, once.scheme, once.meaning, once.version) == once


@pytest.mark.parametrize("age", ["093Y", "089Y", "090Y", "1081M", "999D", "61 years", ""])
def test_a_capped_age_stays_as_it_is(age: str) -> None:
    once = values.capped_age(age)
    assert once is None or values.capped_age(once) == once
