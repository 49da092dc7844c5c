"""PS3.4 section C.2.2.2, case by case."""

from __future__ import annotations

import pytest

from pacstream_query.matching import is_only_wildcards, is_universal, matches, pacsman_name

MATCHES = [
    ("LO", "P1", "P1"),
    ("LO", "P1", "P1 "),
    ("LO", "P1", " P1"),
    ("LO", "P*", "P100"),
    ("LO", "P?", "P1"),
    ("LO", "*MPRAGE*", "t1_MPRAGE_sag"),
    ("LO", "a[b]c", "a[b]c"),
    ("LO", "a.c", "a.c"),
    ("LO", "", ""),
    ("LO", "*", ""),
    ("LO", "Se\u0301quence", "S\u00e9quence"),
    ("SH", "*fl3d?", "*fl3d1"),
    ("UI", "1.2.3", "1.2.3\0"),
    ("UI", "1.2.3\\1.2.4", "1.2.4"),
    ("DA", "20200102", "20200102"),
    ("DA", "20200102", "2020.01.02"),
    ("DA", "20200101-20200131", "20200131"),
    ("DA", "20200101-", "20210101"),
    ("DA", "-20200101", "20200101"),
    ("TM", "101112", "101112.187000"),
    ("TM", "1011", "101112"),
    ("TM", "10-11", "113000.5"),
    ("TM", "1011-1011", "101159.999"),
    ("TM", "-101112", "10:11:12"),
    ("TM", "0900-", "10"),
    ("IS", "1", "1"),
    ("IS", "1", "01"),
    ("IS", "+7", "7"),
    ("PN", "doe^jane", "DOE^JANE"),
    ("PN", "Doe*", "DOE^JANE"),
    ("PN", "Doe^Jane", "Doe^Jane^^^"),
    ("PN", "Doe ^Jane", "Doe^Jane "),
    ("PN", "山田*", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("PN", "Yamada*=山田*", "Yamada^Tarou=山田^太郎"),
    ("PN", "MÜLLER*", "Müller^Zoë"),
    ("PN", "MULLER*", "Müller^Zoë"),
    ("PN", "Müller*", "MULLER^ZOE"),
    ("DS", "3.0", "3"),
    ("DS", "1e1", "10.0"),
    ("US", "512", "512"),
    ("AS", "018M", "018M"),
    ("LT", "either\\or", "either\\or"),
    ("DT", "20200102", "20200102101112.5"),
    ("DT", "2020", "202007"),
    ("DT", "20200102-20200103", "20200103235959"),
    ("DT", "202002-202002", "20200229"),
    ("DT", "20200102-", "20200102"),
    ("DT", "-202001", "20200131"),
    ("DT", "202001021000+0000", "20200102110000+0100"),
    ("DT", "20200102100000-0500", "20200102150000+0000"),
]

MISMATCHES = [
    ("LO", "P1", "p1"),
    ("LO", "P1", "P10"),
    ("LO", "P?", "P10"),
    ("LO", "a.c", "abc"),
    ("LO", "P1", ""),
    ("UI", "1.2.3", "1.2.30"),
    ("UI", "1.2.*", "1.2.3"),
    ("DA", "20200102", "20200103"),
    ("DA", "20200101-20200131", "20200201"),
    ("DA", "-20200101", ""),
    ("TM", "101112", "101113"),
    ("TM", "1012-", "101159"),
    ("TM", "-1011", "1012"),
    ("IS", "1", "11"),
    ("DS", "3", "3.1"),
    ("DT", "20200102", "20200103"),
    ("DT", "-20200101", "20200102"),
    ("DT", "20200102", "no date"),
    ("DT", "20200102100000-0500", "20200102100000+0000"),
    ("PN", "か*", "が^き"),
    ("IS", "1", "one"),
    ("PN", "Doe", "Doe^Jane"),
    ("PN", "Doe^Jane", "Jane^Doe"),
    ("PN", "Doe*", ""),
    ("PN", "Yamada*=鈴木*", "Yamada^Tarou=山田^太郎"),
    ("PN", "Yamada*=山田*", "Yamada^Tarou"),
]


@pytest.mark.parametrize(("vr", "key", "value"), MATCHES)
def test_a_value_within_the_key_matches(vr: str, key: str, value: str) -> None:
    assert matches(vr, key, [value])


@pytest.mark.parametrize(("vr", "key", "value"), MISMATCHES)
def test_a_value_outside_the_key_does_not_match(vr: str, key: str, value: str) -> None:
    assert not matches(vr, key, [value])


@pytest.mark.parametrize(
    "key", ["DERIVED", "DER*", "DERIVED\\PRIMARY\\M", "DERIVED\\*", "*\\M", "M"]
)
def test_one_value_or_the_whole_of_a_multi_valued_attribute_matches(key: str) -> None:
    assert matches("CS", key, ["DERIVED", "PRIMARY", "M"])


@pytest.mark.parametrize("key", ["ORIGINAL", "DERIVED\\PRIMARY", "DERIVED\\M"])
def test_part_of_a_multi_valued_attribute_does_not_match(key: str) -> None:
    assert not matches("CS", key, ["DERIVED", "PRIMARY", "M"])


def test_an_attribute_without_a_value_matches_universal_keys_only() -> None:
    assert matches("LO", "", [])
    assert not matches("LO", "P1", [])


@pytest.mark.parametrize(
    ("key", "universal"), [("", True), ("**", True), (" ", True), ("?", False)]
)
def test_universal_keys_restrict_nothing(key: str, universal: bool) -> None:
    assert is_universal(key) is universal


@pytest.mark.parametrize("key", ["*", "**", "?*", "??", "*^*", "*\\*", " * "])
def test_a_key_of_nothing_but_wildcards_is_recognised(key: str) -> None:
    assert is_only_wildcards(key)


@pytest.mark.parametrize("key", ["", "A*", "*1", "-"])
def test_a_key_that_names_something_is_not_only_wildcards(key: str) -> None:
    assert not is_only_wildcards(key)


@pytest.mark.parametrize(
    ("cell", "key"),
    [("Obi-Wan Kenobi", "*KENOBI"), ("Jane Doe", "*DOE"), ("doe^jane", "*DOE^JANE"), ("", "")],
)
def test_pacsman_takes_the_last_word_in_capitals(cell: str, key: str) -> None:
    assert pacsman_name(cell) == key


def test_pacsmans_key_misses_the_names_that_dicom_writes() -> None:
    assert not matches("PN", pacsman_name("Jane Doe"), ["DOE^JANE"])
    assert matches("PN", pacsman_name("Jane Doe"), ["Doe"])
