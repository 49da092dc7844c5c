"""The second look holds back what may be text, and whatever nobody could look at."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage

from pacstream.errors import InputError, RejectedError
from pacstream.messages import DeidentifyRequested, InstancesDeidentified, InstancesWithheld
from pacstream.settings import Settings
from pacstream_anonymizer import second_look
from pacstream_anonymizer.profile_file import parse_profile
from pacstream_anonymizer.release import release_requested
from pacstream_anonymizer.second_look import SecondLook, look_for
from pacstream_anonymizer.shelf import Shelf
from pacstream_anonymizer.text_detector import answer, boxes_in, sampled, tiles
from pacstream_cli.stack import Stack
from tests.unit.anonymizer.instances import INSTANCE, an_instance, saved
from tests.unit.anonymizer.test_decisions import Zone

STAND_IN = """
import json, os, socket, sys, time
line = socket.socket(fileno=int(sys.argv[1])).makefile("rwb")
for request in line:
    name = os.path.basename(json.loads(request)["path"])
    with open(sys.argv[0] + ".asked", "a") as asked:
        print(name, os.getpid(), file=asked)
    if name == "deadly":
        os._exit(1)
    if name == "endless":
        time.sleep(60)
    replies = {"text": {"boxes": 2}, "broken": {"failed": "not_decodable"}, "odd": [1],
               "true": {"boxes": True}}
    line.write(json.dumps(replies.get(name, {"boxes": 0})).encode() + b"\\n")
    line.flush()
"""


class StandIn:
    """A second look whose child decides by the file's name."""

    def __init__(self, folder: Path, answer_s: float = 20.0) -> None:
        self.script = folder / "child.py"
        self.script.write_text(STAND_IN)
        self.look = SecondLook((sys.executable, str(self.script)), answer_s=answer_s)

    def reason(self, name: str) -> str:
        return self.look.reason(Path("/nowhere") / name)

    def asked(self) -> list[tuple[str, str]]:
        """Name and process of each question so far."""
        lines = Path(f"{self.script}.asked").read_text().splitlines()
        return [(name, pid) for name, pid in (line.split() for line in lines)]


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    made = StandIn(tmp_path)
    yield made
    made.look.close()


def test_boxes_withhold_and_one_child_looks_at_all(stand_in: StandIn) -> None:
    assert [stand_in.reason(name) for name in ("clean", "text", "clean")] == [
        "",
        "text_in_pixels",
        "",
    ]
    assert len({pid for _, pid in stand_in.asked()}) == 1


@pytest.mark.parametrize("name", ["broken", "odd", "true"])
def test_only_a_plain_no_is_a_no(stand_in: StandIn, name: str) -> None:
    assert stand_in.reason(name) == "pixels_not_seen"


def test_an_instance_that_kills_the_detector_is_withheld_and_the_next_is_looked_at(
    stand_in: StandIn,
) -> None:
    assert stand_in.reason("deadly") == "pixels_not_seen"
    assert stand_in.reason("clean") == ""
    assert len({pid for _, pid in stand_in.asked()}) == 3, "tried twice, then a new one"


def test_a_detector_that_hangs_is_ended(tmp_path: Path) -> None:
    stand_in = StandIn(tmp_path, answer_s=1.0)
    assert stand_in.reason("endless") == "pixels_not_seen"
    stand_in.look.close()


def test_a_detector_that_does_not_start_withholds_everything(tmp_path: Path) -> None:
    look = SecondLook((sys.executable, "-c", "raise SystemExit(1)"))
    assert look.reason(tmp_path / "clean") == "pixels_not_seen"


UNDER_EVENTLET = """
import eventlet
eventlet.monkey_patch()
import sys
from pathlib import Path
from pacstream_anonymizer.second_look import SecondLook

beats = []
def beat():
    while True:
        beats.append(1)
        eventlet.sleep(0.05)

eventlet.spawn(beat)
look = SecondLook((sys.executable, sys.argv[1]), answer_s=2.0)
assert look.reason(Path("/nowhere/text")) == "text_in_pixels"
before = len(beats)
assert look.reason(Path("/nowhere/endless")) == "pixels_not_seen"
assert len(beats) - before > 20, "nothing else ran"
look.close()
"""


def test_under_eventlet_nothing_else_waits_for_the_detector(stand_in: StandIn) -> None:
    command = [sys.executable, "-W", "ignore", "-c", UNDER_EVENTLET, str(stand_in.script)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


def looked_at(zone: Zone, found: str) -> tuple[object, list[Path]]:
    """The fact about the zone's instance if the second look finds that, and what it was shown."""
    shown: list[Path] = []

    def look(path: Path) -> str:
        shown.append(path)
        return found

    request = DeidentifyRequested(batch_id="batch-1", order=zone.order, instances=(INSTANCE,))
    (fact,) = release_requested(zone.archive, request, look)
    return fact, shown


def test_what_is_found_withholds_the_instance_until_an_operator_decides(tmp_path: Path) -> None:
    zone = Zone(tmp_path, an_instance())
    fact, shown = looked_at(zone, "text_in_pixels")
    assert isinstance(fact, InstancesWithheld)
    assert [one.reason for one in fact.instances] == ["text_in_pixels"]
    assert shown == [zone.source]
    assert not list(zone.out.rglob("*.dcm"))
    zone.decide("text_in_pixels")
    fact, _ = looked_at(zone, "text_in_pixels")
    assert isinstance(fact, InstancesDeidentified)
    assert fact.waived == ("text_in_pixels",)


def test_what_is_not_found_releases_nothing_that_a_rule_withholds(tmp_path: Path) -> None:
    zone = Zone(tmp_path, an_instance(BurnedInAnnotation="YES"))
    fact, shown = looked_at(zone, "")
    assert isinstance(fact, InstancesWithheld)
    assert shown == []


def test_what_is_not_asked_for_is_not_done() -> None:
    assert look_for(ocr=False) is None


def test_without_the_extra_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look, "NEEDED", ("numpy", "no_such_detector"))
    with pytest.raises(InputError, match=r"no_such_detector is not installed: .*pacstream\[ocr\]"):
        look_for(ocr=True)
    stack = Stack(Settings(data=tmp_path / "data", ocr=True))
    with pytest.raises(InputError, match="PACSTREAM_OCR"):
        stack.write_config()
    assert not (tmp_path / "data" / "run" / "supervisord.conf").exists()


def test_a_profile_may_ask_for_it_and_without_the_extra_nothing_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = Zone(tmp_path, an_instance())
    asking = parse_profile('name = "careful"\nsecond_look = true\n')
    order = zone.order.model_copy(update={"profile": asking.digest})
    monkeypatch.setattr(Shelf, "get", lambda *_: asking)
    monkeypatch.setattr(second_look, "NEEDED", ("no_such_detector",))
    request = DeidentifyRequested(batch_id="batch-1", order=order, instances=(INSTANCE,))
    with pytest.raises(RejectedError) as error:
        list(release_requested(zone.archive, request))
    assert error.value.code == "ocr_missing"
    assert not list(zone.out.rglob("*.dcm"))


@pytest.mark.parametrize("frames", [1, 2, 8, 9, 30, 1000])
def test_the_first_and_the_last_frame_and_some_between_are_looked_at(frames: int) -> None:
    chosen = sampled(frames)
    assert (chosen[0], chosen[-1]) == (0, frames - 1)
    assert len(chosen) == len(set(chosen)) == min(frames, 8)


@pytest.mark.parametrize("size", [(1, 1), (960, 960), (961, 100), (2500, 2048)])
def test_tiles_cover_everything(size: tuple[int, int]) -> None:
    picture = np.zeros(size, np.uint8)
    for tile in tiles(picture):
        assert max(tile.shape) <= 960
        tile += 1
    assert picture.min() >= 1


def test_a_line_of_text_is_whole_in_one_tile_at_least() -> None:
    rows = np.repeat(np.arange(2500, dtype=np.uint16)[:, None], 10, axis=1)
    parts = [(int(tile[0, 0]), int(tile[-1, 0])) for tile in tiles(rows)]  # type: ignore[arg-type]  # numbers that do not fit 8 bits
    for first in range(2500 - 90):
        assert any(top <= first and first + 90 <= bottom for top, bottom in parts)


def frames_of(count: int) -> Dataset:
    pixels = np.zeros((count, 16, 16), np.uint16)
    pixels[-1, 8, 4:12] = 900
    return an_instance(
        SOPClassUID=MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        NumberOfFrames=count,
        Rows=16,
        Columns=16,
        PixelData=pixels.tobytes(),
    )


def test_a_mark_in_the_last_frame_is_seen(tmp_path: Path) -> None:
    path = saved(frames_of(30), tmp_path / "frames")
    shown: list[int] = []

    def detect(picture: NDArray[np.uint8]) -> list[tuple[float, float]]:
        shown.append(int(picture.max()))
        return [(16, 4)] if picture.max() > 100 else []

    assert boxes_in(path, detect) == 1
    assert [brightest > 100 for brightest in shown] == [False] * 7 + [True]


@pytest.mark.parametrize(("box", "lines"), [((90, 20), 1), ((20, 90), 1), ((90, 60), 0)])
def test_what_is_large_in_both_directions_is_no_line_of_text(
    tmp_path: Path, box: tuple[float, float], lines: int
) -> None:
    """In a picture of 64 x 64, which is shown at twice its size."""
    pixels = np.arange(64 * 64, dtype=np.uint16).tobytes()
    path = saved(an_instance(Rows=64, Columns=64, PixelData=pixels), tmp_path / "x")
    assert boxes_in(path, lambda _: [box]) == lines


def test_an_answer_quotes_nothing_of_what_went_wrong(tmp_path: Path) -> None:
    def detect(picture: object) -> list[tuple[float, float]]:
        raise RuntimeError("Quixotesson")

    path = saved(an_instance(), tmp_path / "x")
    request = b'{"path": "%s"}' % str(path).encode()
    assert answer(request, detect) == {"failed": "RuntimeError"}
    assert answer(b'{"path": "/nowhere"}', detect) == {"failed": "unreadable"}
