"""--move to a third node that can be asked what it has: Orthanc and dcmqrscp as third nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset

from demo.pacs import DcmqrscpPacs, OrthancPacs, Pacs, free_port
from pacstream.messages import PacsNode
from pacstream_query.associations import Associations
from pacstream_query.listing import list_instances
from tests.e2e.line import AET, Line, run_cli, write_config, write_queries
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs

pytestmark = [pytest.mark.rabbitmq, pytest.mark.pacs]

THIRD = "THIRD"


@pytest.fixture
def open_here() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


ORTHANC_ONLY = pytest.mark.parametrize("third", ["Orthanc"], indirect=True)


@pytest.fixture(params=["Orthanc", "dcmqrscp"])
def third(request: pytest.FixtureRequest, tmp_path: Path, open_here: ExitStack) -> Pacs:
    """A node without images that takes what the PACS sends, and answers our C-FIND."""
    if request.param == "dcmqrscp":
        return open_here.enter_context(
            DcmqrscpPacs(tmp_path / "third", {}, aet=THIRD, writable=True)
        )
    senders = ("ORTHANC", "FAKEPACS", AET)
    return open_here.enter_context(OrthancPacs(tmp_path / "third", {}, clients=senders, aet=THIRD))


class FakeSource(FakePacs):
    """A fake PACS that a configuration can name."""

    address = "127.0.0.1"


def images(patient_id: str) -> list[Dataset]:
    """Two series of six instances."""
    series = [make_series(patient_id, instances=6, series_number=number) for number in (1, 2)]
    return [instance for one in series for instance in one]


def moved(
    line: Line, tmp_path: Path, pacs: Any, patient_id: str, **destination: object
) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code of a whole batch, what the report says of its series, and the preflight's words."""
    queries = write_queries(tmp_path / "queries.csv", [{"PatientID": patient_id}])
    changes = {"move_AET": THIRD, **destination}
    config = write_config(tmp_path / "config.json", pacs, line.move_port, **changes)
    done = run_cli(
        line.data, "submit", str(queries), "--config", str(config), "--move",
        "-d", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    batch_id = done.stdout.strip()
    code = line.wait(batch_id)
    return code, line.report(batch_id)["report"][0]["series"], done.stderr


def place_of(third: Pacs) -> dict[str, object]:
    return {"move_query_address": third.address, "move_query_port": third.port}


def there(third: Pacs, wanted: list[Dataset]) -> set[str]:
    """What the third node lists of the series of `wanted`."""
    associations = Associations(10.0)
    found: set[str] = set()
    for uids in {(one.StudyInstanceUID, one.SeriesInstanceUID) for one in wanted}:
        listed, reason = list_instances(node_of(third), *uids, associations)
        assert reason == ""
        found |= listed
    associations.close()
    return found


def node_of(third: Pacs) -> PacsNode:
    return PacsNode(address=third.address, port=third.port, called_aet=third.aet, calling_aet=AET)


def test_what_orthanc_sends_to_a_third_node_is_found_there(
    line: Line, third: Pacs, tmp_path: Path, open_here: ExitStack
) -> None:
    wanted = images(f"MOVE-{type(third).__name__}")
    paths = [tmp_path / f"{number}.dcm" for number in range(len(wanted))]
    for path, instance in zip(paths, wanted, strict=True):
        dcmwrite(path, instance, enforce_file_format=True)
    orthanc = OrthancPacs(tmp_path / "pacs", {THIRD: (third.address, third.port)}, clients=[AET])
    open_here.enter_context(orthanc).load(paths)
    code, series, said = moved(line, tmp_path, orthanc, wanted[0].PatientID, **place_of(third))

    assert "it answers C-FIND" in said
    assert code == 0
    assert {(one["state"], one["evidence"], one["remark"]) for one in series} == {
        ("complete", "uids", "")
    }
    assert there(third, wanted) == {one.SOPInstanceUID for one in wanted}


def test_what_a_pacs_drops_on_the_way_is_moved_again_until_it_is_there(
    line: Line, third: Pacs, tmp_path: Path, open_here: ExitStack
) -> None:
    wanted = images(f"DROP-{type(third).__name__}")
    pacs = open_here.enter_context(
        FakeSource(
            wanted,
            destinations={THIRD: (third.address, third.port)},
            behaviour=Behaviour(drop_every=3),
        )
    )
    code, series, _ = moved(line, tmp_path, pacs, wanted[0].PatientID, **place_of(third))

    assert code == 0
    assert {(one["state"], one["evidence"]) for one in series} == {("complete", "uids")}
    assert all(one["rounds"] >= 1 for one in series)
    assert there(third, wanted) == {one.SOPInstanceUID for one in wanted}


@ORTHANC_ONLY
def test_a_third_node_that_can_not_be_asked_leaves_it_to_the_counters(
    line: Line, third: Pacs, tmp_path: Path, open_here: ExitStack
) -> None:
    wanted = images(f"MUTE-{type(third).__name__}")
    pacs = open_here.enter_context(
        FakeSource(wanted, destinations={THIRD: (third.address, third.port)})
    )
    nobody = {"move_query_address": "127.0.0.1", "move_query_port": free_port()}
    code, series, said = moved(line, tmp_path, pacs, wanted[0].PatientID, **nobody)

    assert "does not list instances by C-FIND (pacs_unreachable)" in said
    assert code == 0
    assert {(one["state"], one["evidence"], one["remark"]) for one in series} == {
        ("complete", "move", "destination:pacs_unreachable")
    }
    assert there(third, wanted) == {one.SOPInstanceUID for one in wanted}
