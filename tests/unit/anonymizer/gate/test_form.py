"""A release that is in a worse form than its original, or holds what no profile lets through."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydicom import Dataset

from pacstream_anonymizer.gate import Claims, Gate, Tail
from pacstream_anonymizer.gate.claims import safe_private
from pacstream_anonymizer.profile import Profile, Rule
from pacstream_anonymizer.refusal import Refusal
from tests.unit.anonymizer.gate.files import NO_OPTION, a_release, verdict, written
from tests.unit.anonymizer.instances import INSTANCE, STUDY, an_instance, saved

SAFE = Claims.of(Profile(frozenset({"retain_safe_private"})))
SIEMENS = "SIEMENS MR HEADER"


def test_an_original_uid_is_found_at_any_depth_in_ui_and_text(tmp_path: Path) -> None:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.2",
        INSTANCE,
    )
    for released in (
        a_release(StudyInstanceUID=STUDY),
        a_release(ReferencedImageSequence=[item]),
        a_release(SeriesDescription=f"see {STUDY}."),
        a_release(FrameOfReferenceUID=INSTANCE),
    ):
        assert verdict(an_instance(), released, tmp_path) == "uid_left"
        claims = Claims.of(Profile(frozenset({"retain_uids"})))
        assert verdict(an_instance(), released, tmp_path, claims) == "passed"


def test_a_uid_deep_in_the_original_is_looked_for(tmp_path: Path) -> None:
    original, item = an_instance(), Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3.9.7"
    original.SourceImageSequence = [item]
    assert verdict(original, a_release(FrameOfReferenceUID="1.2.3.9.7"), tmp_path) == "uid_left"


def test_uids_of_classes_and_of_the_standard_stay(tmp_path: Path) -> None:
    code = Dataset()
    code.CodingSchemeUID = "2.16.840.1.113883.6.96"
    talairach = "1.2.840.10008.1.4.1.1"
    original = an_instance(FrameOfReferenceUID=talairach, ProcedureCodeSequence=[code])
    released = a_release(FrameOfReferenceUID=talairach, ProcedureCodeSequence=[code])
    assert verdict(original, released, tmp_path) == "passed"


def with_private(released: Dataset, creator: str, offset: int, vr: str, value: object) -> Dataset:
    released.private_block(0x0019, creator, create=True).add_new(offset, vr, value)
    return released


def test_no_private_element_stays_without_an_option(tmp_path: Path) -> None:
    released = with_private(a_release(), SIEMENS, 0x0C, "IS", "1000")
    assert verdict(an_instance(), released, tmp_path) == "private_left"
    assert verdict(an_instance(), released, tmp_path, SAFE) == "passed"


def test_a_safe_private_element_may_lie_in_another_block(tmp_path: Path) -> None:
    released = a_release()
    released.add_new(0x00190012, "LO", SIEMENS)
    released.add_new(0x0019120C, "IS", "1000")
    assert verdict(an_instance(), released, tmp_path, SAFE) == "passed"


@pytest.mark.parametrize(("creator", "offset"), [(SIEMENS, 0x77), ("ACME", 0x0C)])
def test_only_what_the_table_names_is_safe(tmp_path: Path, creator: str, offset: int) -> None:
    released = with_private(a_release(), creator, offset, "IS", "1000")
    assert verdict(an_instance(), released, tmp_path, SAFE) == "private_left"
    named = Claims(private=frozenset({(0x0019, creator, offset)}))
    assert verdict(an_instance(), released, tmp_path, named) == "passed"


def test_creators_without_elements_and_elements_without_creator_do_not_stay(
    tmp_path: Path,
) -> None:
    lonely, orphan, nested = a_release(), a_release(), a_release()
    lonely.add_new(0x00190010, "LO", SIEMENS)
    orphan.add_new(0x0019100C, "IS", "1000")
    item = Dataset()
    item.add_new(0x0019100C, "IS", "1000")
    nested.SourceImageSequence = [item]
    for released in (lonely, orphan, nested):
        assert verdict(an_instance(), released, tmp_path, SAFE) == "private_left"


def test_no_private_sequence_stays(tmp_path: Path) -> None:
    (creator, low) = next(
        (c, e) for (g, c, e), vr in safe_private().items() if vr == "SQ" and g == 0x2001
    )
    released = a_release()
    released.private_block(0x2001, creator, create=True).add_new(low, "SQ", [Dataset()])
    assert verdict(an_instance(), released, tmp_path, SAFE) == "private_left"


def test_the_private_vr_of_an_implicit_release_is_the_tables(tmp_path: Path) -> None:
    released = with_private(a_release(), SIEMENS, 0x0C, "IS", "1000")
    original = an_instance(PatientID="1000")
    content = written(released, implicit=True)
    assert verdict(original, content, tmp_path, SAFE) == "passed"


@pytest.mark.parametrize("vr", ["LO", "UT", "OB"])
def test_an_echo_in_a_private_value_that_may_stay_empties_it(tmp_path: Path, vr: str) -> None:
    value: object = b"Quixotesson " if vr == "OB" else "Quixotesson"
    released = with_private(a_release(), SIEMENS, 0x0C, vr, value)
    assert verdict(an_instance(), released, tmp_path, SAFE) == "emptied 0019100C"


def test_a_creator_is_searched_but_for_makers(tmp_path: Path) -> None:
    named = Claims(private=frozenset({(0x0019, "Quixotesson", 1)}))
    released = with_private(a_release(), "Quixotesson", 1, "IS", "1000")
    assert verdict(an_instance(), released, tmp_path, named) == "echo"
    released = with_private(a_release(), SIEMENS, 0x0C, "IS", "1000")
    assert verdict(an_instance(PatientName="Siemens^A"), released, tmp_path, SAFE) == "passed"


def test_preamble_and_file_meta_are_those_of_a_release(tmp_path: Path) -> None:
    content = written(a_release())
    assert verdict(an_instance(), content, tmp_path) == "passed"
    end = 144 + int.from_bytes(content[140:144], "little")
    title = b"\x02\x00\x16\x00AE\x04\x00SITE"
    longer = len(content[144:end] + title).to_bytes(4, "little")
    with_title = content[:140] + longer + content[144:end] + title + content[end:]
    for damaged in (b"SITE" + content[4:], with_title, content[132:], content[:150]):
        assert verdict(an_instance(), damaged, tmp_path) == "invalid"


def test_elements_in_disorder_cut_or_twice_are_invalid(tmp_path: Path) -> None:
    content = written(a_release())
    for damaged in (content + content[-10:], content[:-1], content + b"\0\0\0"):
        assert verdict(an_instance(), damaged, tmp_path) == "invalid"


@pytest.mark.parametrize("keyword", ["Rows", "BitsAllocated", "Modality", "StudyInstanceUID"])
def test_a_mandatory_value_of_the_original_is_in_the_release(tmp_path: Path, keyword: str) -> None:
    released = a_release()
    assert verdict(an_instance(), released, tmp_path) == "passed"
    released[keyword].value = None
    assert verdict(an_instance(), released, tmp_path) == "invalid"
    del released[keyword]
    assert verdict(an_instance(), released, tmp_path) == "invalid"


def test_file_meta_and_data_set_name_the_same_instance(tmp_path: Path) -> None:
    content = written(a_release())
    data_set = content.rindex(b"2.25.11")
    other = content[:data_set] + b"2.25.15" + content[data_set + 7 :]
    assert verdict(an_instance(), other, tmp_path) == "invalid"


def test_what_the_profile_takes_out_is_not_missed(tmp_path: Path) -> None:
    def claims(mode: Literal["profile", "allow_list"], *rules: Rule) -> Claims:
        return Claims.of(Profile(frozenset(), mode=mode, rules=rules))

    original, released = an_instance(PixelSpacing=["1", "1"]), a_release()
    for action in ("remove", "empty"):
        rule = Rule("0028003x", action, "why not")
        assert verdict(original, released, tmp_path, claims("profile", rule)) == "passed"
    keep = Rule("00280030", "keep", "needed")
    assert verdict(original, released, tmp_path, claims("profile", keep)) == "invalid"
    assert verdict(original, released, tmp_path, claims("allow_list", keep)) == "invalid"
    assert verdict(original, released, tmp_path, claims("allow_list")) == "passed"


def test_a_private_element_that_a_rule_names_may_stay(tmp_path: Path) -> None:
    released = with_private(a_release(), "ACME", 0x0C, "IS", "1000")
    for tag, outcome in (
        ("0019xx0C", "passed"),
        ("0019xx0x", "passed"),
        ("0019xx1C", "private_left"),
    ):
        rule = Rule(tag, "keep", "needed", private_creator="ACME")
        claims = Claims.of(Profile(frozenset(), rules=(rule,)))
        assert verdict(an_instance(), released, tmp_path, claims) == outcome


def test_an_odd_mandatory_value_may_go(tmp_path: Path) -> None:
    released = a_release()
    original = an_instance()
    original.add_new(0x00280030, "LO", ["wide", "wide"])
    assert verdict(original, released, tmp_path) == "passed"
    original = an_instance(PixelSpacing=["1", "1"])
    assert verdict(original, released, tmp_path) == "invalid"


def test_a_release_says_that_identity_is_removed(tmp_path: Path) -> None:
    released = a_release()
    del released.PatientIdentityRemoved
    assert verdict(an_instance(), released, tmp_path) == "invalid"


def test_dates_and_uids_are_well_formed_and_code_strings_no_worse(tmp_path: Path) -> None:
    for tag, vr, value in (
        (0x00080022, "LO", "20240231"),
        (0x00080022, "LO", "2024"),
        (0x00200052, "LO", "1.02.3"),
        (0x00080060, "LO", "ct scan!"),
    ):
        released = a_release()
        released.add_new(tag, vr, value)
        content = written(released).replace(
            tag.to_bytes(4, "big")[1::-1] + tag.to_bytes(4, "big")[:1:-1] + b"LO",
            tag.to_bytes(4, "big")[1::-1] + tag.to_bytes(4, "big")[:1:-1]
            + {0x00080022: b"DA", 0x00200052: b"UI", 0x00080060: b"CS"}[tag],
        )  # fmt: skip
        assert verdict(an_instance(), content, tmp_path) == "invalid", value
    original = an_instance()
    original.SeriesDescription = "ct scan!"
    assert verdict(original, content, tmp_path) == "passed"


def test_nothing_follows_pixel_data(tmp_path: Path) -> None:
    original = saved(an_instance(), tmp_path / "a.dcm")
    content = written(a_release())
    pixels = b"\xe0\x7f\x10\x00OW\0\0\x04\0\0\0\1\2\3\4"
    fragments = (
        b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
        b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\2\0\0\0\1\2\xfe\xff\xdd\xe0\0\0\0\0"
    )
    gate, head = Gate(), b"HEAD"

    def check(tail: bytes) -> None:
        whole = Tail(head + tail, len(head), len(head + tail))
        gate.check(original, original.read_bytes(), content, whole, NO_OPTION)

    for tail in (pixels, fragments):
        check(tail)
        for wrong in (tail + b"\0\0", tail[:-1], tail[:3], b"\xfc\xff\xfc\xff" + tail[4:]):
            with pytest.raises(Refusal) as caught:
                check(wrong)
            assert caught.value.reason == "invalid"
