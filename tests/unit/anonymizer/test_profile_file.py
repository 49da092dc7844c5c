"""Project profiles as TOML: read, refused with the lines of all problems, shipped, kept."""

from __future__ import annotations

import os
import re
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from pacstream.errors import InputError, RejectedError
from pacstream.toml_lines import line_of
from pacstream_anonymizer import shelf
from pacstream_anonymizer.profile import OPTIONS, DeviceRegions, Profile, Rule
from pacstream_anonymizer.profile_file import ProfileError, ProfileFile, RegionsTable, parse_profile
from pacstream_anonymizer.shelf import Project, Shelf, named, shipped

WHOLE = """
name = "trial"
mode = "allow_list"
options = ["retain_uids", "clean_pixel_data"]
vocabulary = ["Contrast", "mprage"]
modalities = ["MR"]
sop_classes = ["1.2.840.10008.5.1.4.1.1.4"]
key_id = "2"
keep_ultrasound_regions = true

[[rules]]
tags = ["(0018,1030)", "00081030"]
action = "remove"
reason = "holds surnames here"
manufacturer = "SIEMENS"

[[rules]]
tags = ["(0019,xx0c)"]
private_creator = "SIEMENS MR HEADER"
action = "replace"
value = "0"
reason = "why not"

[[regions]]
manufacturer = "ACME"
modality = "US"
image_type = ["DERIVED"]
rows = 480
columns = 640
rectangles = [[0, 0, 640, 20], [600, 460, 40, 20]]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ProfileError) as raised:
        parse_profile(text, "f.toml")
    return raised.value.problems


def test_every_field_of_a_profile_is_a_key_of_the_file() -> None:
    assert set(Profile.__dataclass_fields__) == set(ProfileFile.model_fields)


def test_all_keys_reach_the_engines_profile() -> None:
    assert parse_profile(WHOLE) == Profile(
        name="trial",
        mode="allow_list",
        options=frozenset({"retain_uids", "clean_pixel_data"}),
        vocabulary=frozenset({"contrast", "mprage"}),
        modalities=frozenset({"MR"}),
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.4"}),
        key_id="2",
        rules=(
            Rule("00181030", "remove", "holds surnames here", manufacturer="SIEMENS"),
            Rule("00081030", "remove", "holds surnames here", manufacturer="SIEMENS"),
            Rule("0019xx0C", "replace", "why not", "SIEMENS MR HEADER", "0"),
        ),
        regions=(
            DeviceRegions(
                "ACME", "", "", 480, 640, ((0, 0, 640, 20), (600, 460, 40, 20)), "US", ("DERIVED",)
            ),
        ),
        keep_ultrasound_regions=True,
    )


RULE = "name='a'\n[[rules]]\naction='remove'\nreason='r'\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("options = []", "line 1, name: Field required"),
        ("name = 'a b'", "line 1, name: "),
        ("name = 'a'\ncolour = 3", "line 2, colour: unknown key"),
        ("name = 'a'\nmode = 'deny'", "line 2, mode: "),
        ("name='a'\noptions = [\n 'retain_uids',\n 'all' # no\n]", "line 4, options[2]: no such"),
        (
            "name='a'\n\noptions = ['retain_longitudinal_full_dates',\n"
            " 'retain_longitudinal_modified_dates']",
            "line 3, options: ",
        ),
        ("name='a'\nmodalities = ['mr']", "line 2, modalities[1]: "),
        ("name='a'\nsop_classes = ['1..2']", "line 2, sop_classes[1]: "),
        ("name='a'\nvocabulary = [\n'x',\n'']", "line 4, vocabulary[2]: "),
        (RULE + "tags = ['nonsense']", "line 5, rules[1].tags[1]: a tag is"),
        (RULE + "tags = []", "line 5, rules[1].tags: "),
        (RULE + "tags = ['(0010,0010)']", "line 5, rules[1].tags[1]: every release writes"),
        (RULE + "tags = ['(0002,0016)']", "line 5, rules[1].tags[1]: file meta"),
        (RULE + "tags = ['(0019,xx0C)']", "line 2, rules[1]: private tags"),
        (RULE + "tags=['(0018,0010)']\nprivate_creator='A'", "line 2, rules[1]: private tags"),
        (RULE + "tags=['(0018,0010)']\nvalue='A'", "line 2, rules[1]: `value` goes with"),
        ("name='a'\n[[rules]]\ntags=['(0018,0010)']\naction='keep'", "line 2, rules[1].reason: "),
        (
            RULE + "tags=['(0018,0010)']\n\n" + RULE[9:] + "tags = [\n'(0018,0010)']",
            "line 11, rules[2].tags[1]: as in rules[1].tags[1] already",
        ),
        (
            "name='a'\n[[regions]]\nmanufacturer='A'\nrows=10\ncolumns=10\nrectangles=[[5,5,6,1]]",
            "line 6, regions[1].rectangles[1]: leaves the image of 10 columns and 10 rows",
        ),
        (
            "name='a'\n[[regions]]\nmanufacturer='A'\nrows=10\ncolumns=10\n"
            "rectangles=[\n [0,0,5,5],\n [5,0,0,5],\n [4,4,2,2],\n]",
            "line 8, regions[1].rectangles[2]: a rectangle is [left, top, width, height], and",
        ),
        (
            "name='a'\n[[regions]]\nmanufacturer='A'\nrows=10\ncolumns=10\n"
            "rectangles=[\n [0,0,5,5],\n [5,0,1,5],\n [4,4,2,2],\n]",
            "line 9, regions[1].rectangles[3]: overlaps rectangles[1]",
        ),
        (
            "name='a'\n"
            + "[[regions]]\nmanufacturer='A'\nrows=10\ncolumns=10\nrectangles=[[0,0,1,1]]\n" * 2,
            "line 7, regions[2]: the images of regions[1] again",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_key(text: str, says: str) -> None:
    assert any(problem.startswith(says) for problem in problems(text)), problems(text)


def test_all_problems_are_listed_in_the_order_of_the_file() -> None:
    text = "name = 3\ncolour = 1\noptions = ['x',\n'y']\n[[rules]]\nspeed = 1\n"
    lines = [int(problem.split(",")[0].removeprefix("line ")) for problem in problems(text)]
    assert lines == sorted(lines)
    assert len(lines) >= 7


def test_what_is_no_toml_is_said_with_its_line() -> None:
    with pytest.raises(InputError, match=r"f\.toml: is not TOML: .*line 2"):
        parse_profile("name = 'a'\nmode = ]", "f.toml")


def test_no_text_that_looks_like_a_key_misleads_the_search_for_a_line() -> None:
    text = 'a = """\nb = 1\n[[t]]\n"""\n# b = 2\n[[t]]\nx = [\n  1, # b = 3\n  2]\n[[t]]\nb = 4\n'
    assert line_of(text, ("b",)) == 1
    assert line_of(text, ("t", 0)) == 6
    assert line_of(text, ("t", 0, "x", 1)) == 9
    assert line_of(text, ("t", 1, "b")) == 11
    assert line_of(text, ("t", 1, "c")) == 10


@pytest.mark.parametrize("name", shelf.SHIPPED)
def test_shipped_profiles_are_whole_and_have_their_own_names(name: str) -> None:
    assert shipped(name).name == name
    assert shipped(name).options <= OPTIONS


def test_strict_retains_nothing_and_research_what_is_said_of_it() -> None:
    assert shipped("strict").options == frozenset()
    assert shipped("research").options == {
        "retain_safe_private",
        "retain_patient_characteristics",
        "retain_longitudinal_modified_dates",
        "clean_descriptors",
    }


def test_pacsman_empties_the_names_that_the_original_missed() -> None:
    emptied = {rule.tag for rule in shipped("pacsman").rules if rule.action == "empty"}
    assert {"00080090", "00100032", "00081060", "00081048"} <= emptied


def test_the_digest_is_of_the_content_and_of_nothing_else() -> None:
    one = parse_profile(WHOLE)
    again = parse_profile(
        "# a comment\n" + WHOLE.replace('"Contrast", "mprage"', '"MPRAGE","contrast"')
    )
    assert one.digest == again.digest
    assert one.digest != replace(one, key_id="3").digest
    first, second, third = one.rules
    assert one.digest != replace(one, rules=(second, first, third)).digest


def test_a_file_is_found_by_its_path_and_a_shipped_profile_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(WHOLE, encoding="utf-8-sig")
    assert named(str(path)).name == "trial"
    with pytest.raises(InputError, match="research"):
        named("reserch")
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(InputError, match="not UTF-8"):
        named(str(path))


# In the trusted zone


def test_what_was_put_is_found_by_its_digest_with_the_users_own_text(tmp_path: Path) -> None:
    profile = Shelf(tmp_path).put("trial", WHOLE)
    assert Shelf(tmp_path).get("trial", profile.digest) == profile
    assert Shelf(tmp_path).text_of("trial", profile.digest) == WHOLE
    assert (tmp_path / "projects").stat().st_mode & 0o777 == 0o700


def test_an_order_of_an_older_sender_means_research(tmp_path: Path) -> None:
    assert Shelf(tmp_path).get("trial", "") == shipped("research")


def test_a_profile_that_is_not_there_or_not_what_it_was_is_rejected(tmp_path: Path) -> None:
    shelf_ = Shelf(tmp_path)
    with pytest.raises(RejectedError) as missing:
        shelf_.get("trial", "ab" * 32)
    assert missing.value.code == "project_profile_missing"
    digest = shelf_.put("trial", WHOLE).digest
    path = tmp_path / "projects" / "trial" / "profiles" / f"{digest}.toml"
    assert shelf_.get("trial", digest)
    for text in (WHOLE.replace("remove", "keep"), "name = ", "", "\udcff"):
        path.write_text(text, errors="surrogateescape")
        os.utime(path, ns=(0, len(text)))
        with pytest.raises(RejectedError) as changed:
            shelf_.get("trial", digest)
        assert changed.value.code == "project_profile_unreadable"


def test_a_profile_is_parsed_once_for_many_messages(tmp_path: Path) -> None:
    shelf_ = Shelf(tmp_path)
    digest = shelf_.put("trial", WHOLE).digest
    assert shelf_.get("trial", digest) is Shelf(tmp_path).get("trial", digest)


def test_a_project_is_written_and_listed(tmp_path: Path) -> None:
    shelf_ = Shelf(tmp_path)
    assert (shelf_.project("a"), shelf_.names()) == (None, [])
    shelf_.write(Project(name="b", profile="ab" * 32))
    shelf_.write(Project(name="a"))
    assert shelf_.names() == ["a", "b"]
    assert shelf_.project("b") == Project(name="b", profile="ab" * 32)
    with pytest.raises(InputError):
        shelf_.project("../a")


def test_the_documented_keys_and_example_are_the_real_ones() -> None:
    page = (Path(__file__).parents[3] / "docs/project-profiles.md").read_text()
    text, _, regions = page.partition("## Text in the pixels")
    table = text[text.index("| Key |") :]
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    assert {key for row in rows for key in re.findall("`(.*?)`", row)} == set(
        ProfileFile.model_fields
    )
    assert set(re.findall("`((?:retain|clean)_.*?)`", table)) == OPTIONS
    example = text[text.index("```toml") + 7 : text.rindex("```")]
    assert len(parse_profile(example).rules) == 3
    (copied,) = re.findall("```toml(.*?)```", regions, re.DOTALL)
    (device,) = parse_profile("name = 'a'\n" + textwrap.dedent(copied)).regions
    assert len(device.rectangles) == 2
    table = regions[regions.index("| Of a table |") :].split("\n\n")[0]
    named = {
        key
        for row in re.findall("^\\| (`.*?) \\|", table, re.MULTILINE)
        for key in re.findall("`(.*?)`", row)
    }
    assert named == set(RegionsTable.model_fields)


@pytest.mark.parametrize("digest", ["../../../profile", "0" * 63, "G" * 64])
def test_a_digest_that_is_none_names_no_path(tmp_path: Path, digest: str) -> None:
    with pytest.raises(RejectedError) as caught:
        Shelf(tmp_path).get("trial", digest)
    assert caught.value.code == "project_profile_unreadable"


@pytest.mark.parametrize(
    ("tag", "value", "said"),
    [
        ("(0008,0022)", "yesterday", "is no value of VR DA"),
        ("(0008,0022)", "20240231", "is no value of VR DA"),
        ("(0008,0032)", "10:15", "is no value of VR TM"),
        ("(0008,002A)", "2024-02-29", "is no value of VR DT"),
        ("(0010,1010)", "44", "is no value of VR AS"),
        ("(0008,0008)", "original", "is no value of VR CS"),
        ("(0008,0008)", "A" * 17, "longer than the 16 characters of VR CS"),
        ("(0018,0050)", "5 mm", "is no value of VR DS"),
        ("(0020,0013)", "1.5", "is no value of VR IS"),
        ("(0020,0052)", "1.2.x", "is no value of VR UI"),
        ("(0008,0054)", "A" * 17, "longer than the 16 characters of VR AE"),
        ("(0028,0010)", "512", "no text can stand in an attribute of VR US"),
        ("(0008,1140)", "none", "no text can stand in an attribute of VR SQ"),
    ],
)
def test_a_replacement_has_to_fit_its_attribute(tag: str, value: str, said: str) -> None:
    problem = f"line 2, rules[1]: `value` for {tag}:"
    with pytest.raises(ProfileError) as caught:
        parse_profile(replacing(tag, value))
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(problem) and said in caught.value.problems[0]


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("(0008,0022)", "20240229"),
        ("(0008,0032)", "101530.5"),
        ("(0008,002A)", "20240229101530+0100"),
        ("(0010,1010)", "044Y"),
        ("(0008,0008)", "DERIVED"),
        ("(0018,0050)", "1.5"),
        ("(0008,1030)", "what study it was"),
        ("(0020,0052)", "1.2.3"),
        ("(0008,xx22)", "anything"),
    ],
)
def test_a_replacement_that_fits_is_taken(tag: str, value: str) -> None:
    assert parse_profile(replacing(tag, value)).rules[0].value == value


def test_a_safe_private_attribute_has_the_vr_of_its_table() -> None:
    creator = 'private_creator = "SIEMENS MR HEADER"\n'
    with pytest.raises(ProfileError, match="1 problem") as caught:
        parse_profile(replacing("(0019,xx0C)", "b 1000") + creator)
    assert "VR IS" in caught.value.problems[0]
    assert parse_profile(replacing("(0019,xx0C)", "1000") + creator).rules


def replacing(tag: str, value: str) -> str:
    rule = f'tags = ["{tag}"]\naction = "replace"\nvalue = "{value}"\nreason = "why"\n'
    return f'name = "x"\n[[rules]]\n{rule}'
