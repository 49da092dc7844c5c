"""Private attributes: what Table E.3.10-1 calls safe, and what only looks like it."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.uid import ImplicitVRLittleEndian

from tests.answer_key.key import SAFE_PRIVATE, Action, Check, Fate
from tests.answer_key.maker import Maker, Written
from tests.answer_key.naming import inside, private_path

CATEGORY = "private"

SAFE = (
    (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", "1000"),
    (0x0019, "SIEMENS MR HEADER", 0x0D, "CS", "DIRECTIONAL"),
    (0x0019, "GEMS_ACQU_01", 0x23, "DS", "55.5"),
    (0x0043, "GEMS_PARM_01", 0x39, "IS", "1000\\8\\0\\0"),
    (0x2001, "Philips Imaging DD 001", 0x03, "FL", 700.0),
    (0x00E1, "ELSCINT1", 0x21, "DS", "14.25"),
)
"""Group, creator, low byte, VR, value."""


def add_private_blocks(maker: Maker) -> None:
    _add_safe(maker)
    _add_unsafe(maker)
    _add_texts_in_safe_ones(maker)
    _add_odd_creators(maker)


def _block(target: Dataset, group: int, creator: str, block: int) -> None:
    target.add(DataElement((group << 16) + block, "LO", creator))


def _element(target: Dataset, group: int, block: int, low: int, vr: str, value: object) -> None:
    target.add(DataElement((group << 16) + (block << 8) + low, vr, value))


def _add_safe(maker: Maker) -> None:
    """Each at its usual block, at another one (a re-blocked file), in an item, in implicit VR."""
    option = frozenset({SAFE_PRIVATE})
    for title, block, nested, syntax in (
        ("usual", 0x10, False, ""),
        ("re-blocked", 0x12, False, ""),
        ("nested", 0x11, True, ""),
        ("implicit", 0x12, False, ImplicitVRLittleEndian),
    ):
        person = maker.cast.person()
        data_set = maker.instance(person)
        target = Dataset() if nested else data_set
        before = inside("SharedFunctionalGroupsSequence", 0) if nested else ()
        checks = []
        blocks: dict[int, int] = {}
        creators: dict[tuple[int, str], int] = {}
        for group, creator, low, vr, value in SAFE:
            if (group, creator) not in creators:
                creators[group, creator] = blocks.get(group, block)
                blocks[group] = creators[group, creator] + 1
                _block(target, group, creator, creators[group, creator])
            _element(target, group, creators[group, creator], low, vr, value)
            path = private_path(group, creator, low, before)
            checks += [
                Check(CATEGORY, Action.TEXT_RETAINED, path, str(value), only=option),
                Check(CATEGORY, Action.TEXT_REMOVED, path, str(value), without=option),
            ]
        if nested:
            data_set.SharedFunctionalGroupsSequence = [target]
        written = Written(syntax) if syntax else Written()
        file = maker.add(f"private/{title}.dcm", CATEGORY, data_set, person, written=written)
        file.checks += checks


def _add_unsafe(maker: Maker) -> None:
    """What Siemens, GE and Philips write about patient and place."""
    for title, written in (("explicit", Written()), ("implicit", Written(ImplicitVRLittleEndian))):
        person, word = maker.cast.person(), maker.cast.word
        data_set = maker.instance(person)

        def hidden() -> str:
            return maker.hidden(word(), CATEGORY)  # noqa: B023 - called in this turn only

        csa = b"SV10\4\3\2\1" + b"\0" * 8 + f"tPatientName = {hidden()}".encode()
        _block(data_set, 0x0029, "SIEMENS CSA HEADER", 0x10)
        _element(data_set, 0x0029, 0x10, 0x10, "OB", csa + b"\0" * (len(csa) % 2))
        _element(data_set, 0x0029, 0x10, 0x20, "OB", hidden().encode("utf-16-le"))
        _block(data_set, 0x0051, "SIEMENS MR HEADER", 0x10)
        _element(data_set, 0x0051, 0x10, 0x0F, "LO", hidden())
        _block(data_set, 0x0009, "GEMS_IDEN_01", 0x10)
        _element(data_set, 0x0009, 0x10, 0x02, "SH", maker.hidden(maker.cast.capitals(9), CATEGORY))
        _element(data_set, 0x0009, 0x10, 0x27, "SL", 1_321_009_871)
        _block(data_set, 0x2005, "Philips MR Imaging DD 005", 0x10)
        item = Dataset()
        item.PatientName = hidden()
        _element(data_set, 0x2005, 0x10, 0x0E, "SQ", [item])
        _block(data_set, 0x0031, "UNKNOWN VENDOR 7", 0x10)
        _element(data_set, 0x0031, 0x10, 0x01, "UN", hidden().encode().ljust(24))
        _element(data_set, 0x0031, 0x10, 0x02, "UI", maker.cast.uid())
        maker.add(f"private/unsafe-{title}.dcm", CATEGORY, data_set, person, written=written)


def _add_texts_in_safe_ones(maker: Maker) -> None:
    """The list vouches for the attribute, not for what a site writes into it."""
    person = maker.cast.person()
    data_set = maker.instance(person)
    _block(data_set, 0x0099, "NQHeader", 0x10)
    _element(data_set, 0x0099, 0x10, 0x02, "UI", maker.cast.uid())
    _element(data_set, 0x0099, 0x10, 0x05, "LT", f"failed for {person.texts[0]}")
    _block(data_set, 0x0019, "GEMS_ACQU_01", 0x11)
    _element(data_set, 0x0019, 0x11, 0x9E, "LO", f"epi for {person.texts[1]}")
    maker.add("private/safe-with-names.dcm", CATEGORY, data_set, person, Fate.EITHER)


def _add_odd_creators(maker: Maker) -> None:
    """A name as creator, a safe creator in another group, elements without creator."""
    person = maker.cast.person()
    data_set = maker.instance(person)
    creator = maker.hidden(maker.cast.word(), CATEGORY)
    _block(data_set, 0x0019, creator, 0x10)
    _element(data_set, 0x0019, 0x10, 0x0C, "IS", "700")
    _block(data_set, 0x0045, "SIEMENS MR HEADER", 0x10)
    _element(data_set, 0x0045, 0x10, 0x0C, "LO", maker.hidden(maker.cast.word(), CATEGORY))
    _element(data_set, 0x0047, 0x20, 0x01, "LO", maker.hidden(maker.cast.word(), CATEGORY))
    _element(data_set, 0x0047, 0x00, 0x05, "UN", b"12 ")
    maker.add("private/odd-creators.dcm", CATEGORY, data_set, person)
