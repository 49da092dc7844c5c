"""Whatever lies in a folder, and however it is worked on: everything is accounted for once."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from pacstream_anonymizer.offline.job import Summary
from tests.unit.anonymizer.instances import KEY, saved
from tests.unit.anonymizer.offline.folders import (
    PATIENTS,
    contents,
    done,
    instance_of,
    mentions,
)

TOKENS = ("Quixotesson", "Vandersloot", "88213", "101 A", "101_A", "20240229", "1.2.826.0.1.77")


class Planted(NamedTuple):
    """A file: an instance of a patient, or something else."""

    place: str
    patient: str
    series: int
    number: int
    kind: str


KINDS = ("good", "good", "good", "other pixels", "burned", "cut", "bare", "text", "empty")
FILES = st.lists(
    st.builds(
        Planted,
        st.sampled_from(["sub-MRN_88213/ses-1/a", "sub-HU_101_A/ses-1/b", "Quixotesson", "."]),
        st.sampled_from(sorted(PATIENTS)),
        st.integers(0, 1),
        st.integers(0, 2),
        st.sampled_from(KINDS),
    ),
    min_size=1,
    max_size=12,
)


def plant(root: Path, files: list[Planted]) -> Path:
    for number, one in enumerate(files):
        path = root / one.place / f"{number:02}"
        changes: dict[str, dict[str, object]] = {
            "other pixels": {"Rows": 2, "Columns": 8},
            "burned": {"BurnedInAnnotation": "YES"},
        }
        data_set = instance_of(one.patient, one.series, one.number, **changes.get(one.kind, {}))
        content = saved(data_set, path).read_bytes()
        damaged = {
            "cut": content[:-9],
            "bare": content[132:],
            "text": b"seen by Quixotesson",
            "empty": b"",
        }
        path.write_bytes(damaged.get(one.kind, content))
    return root


def accounted(summary: Summary) -> int:
    withheld, others = sum(summary.withheld.values()), sum(summary.others.values())
    assert summary.instances == summary.released + summary.duplicates + withheld
    return summary.instances + others


@settings(max_examples=60, deadline=None)
@given(FILES)
def test_every_file_is_released_kept_or_listed_however_the_work_is_cut(
    files: list[Planted],
) -> None:
    instances = [one for one in files if one.kind not in ("text", "empty")]
    if not instances:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = plant(folder / "in", files)
        summary = done(source, folder / "out")
        released = contents(folder / "out")
        assert accounted(summary) == len(files)
        assert summary.instances == len(instances)
        assert len(released) == summary.released
        assert len({Path(path).name for path in released}) == len(released)
        assert not mentions(released, *TOKENS)
        assert not any(token.encode() in one for token in TOKENS for one in released.values())
        good = {(p.patient, p.series, p.number) for p in files if p.kind in KINDS[:4]}
        assert {Path(path).stem for path in released} == {
            KEY.uid(instance_of(*one).SOPInstanceUID) for one in good
        }

        again = done(source, folder / "out")
        assert contents(folder / "out") == released
        assert (again.released, again.withheld) == (again.before, summary.withheld)

        here = folder / "here"
        shutil.copytree(source, here)
        in_place = done(here, here, data=folder / "data2")
        assert contents(here) == released
        assert (in_place.released, in_place.withheld) == (summary.released, summary.withheld)
