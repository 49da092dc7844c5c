"""The dry run, and the guard against large batches, against a PACS in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from demo.pacs import free_port
from pacstream.archive import Archive
from pacstream.errors import InputError
from pacstream.messages import Actions, Batch, Order, PacsNode, QueryRequested, Series
from pacstream.settings import Settings
from pacstream_cli.commands_pacs import plan
from pacstream_cli.plan import (
    OTHER_BYTES,
    TYPICAL_BYTES,
    CountedSources,
    Pace,
    PlannedRow,
    PlannedSeries,
    Sizes,
    check_size,
    is_broad,
    known_sizes,
    pace_of,
    plan_rows,
    suspicious,
)
from pacstream_cli.profiles import Measured
from pacstream_cli.queryfile import QueryRow
from pacstream_query.associations import Associations
from tests.e2e.line import write_queries
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs

ANNA = [
    *make_series("P1", series_number=1, instances=5, rows=2),
    *make_series("P1", series_number=2, instances=3, rows=2, modality="MR"),
]
BORIS = make_series("P2", series_number=1, instances=2, rows=2)


@pytest.fixture
def pacs() -> Iterator[FakePacs]:
    with FakePacs([*ANNA, *BORIS]) as running:
        yield running


def batch(node: PacsNode, **changes: object) -> Batch:
    made = Batch(
        batch_id="20240101-000000-abc",
        rows=1,
        submitted_at="2024-01-01T00:00:00Z",
        pacs=node,
        destination="PACSTREAM",
        actions=Actions(save=True),
        out="out",
    )
    return made.model_copy(update=changes)


def planned(
    pacs: FakePacs, archive: Archive, *rows: dict[str, str]
) -> tuple[list[PlannedRow], Mapping[str, int]]:
    """The plan of some rows, and the C-FINDs by level that it took."""
    associations = Associations(10.0)
    sources = CountedSources(associations)
    queries = [
        QueryRequested(batch=batch(pacs.node()), row=number, keys=keys)
        for number, keys in enumerate(rows, start=2)
    ]
    try:
        return list(plan_rows(queries, sources, archive)), sources.tally.number
    finally:
        associations.close()


def test_each_row_has_its_studies_series_and_instances(pacs: FakePacs, tmp_path: Path) -> None:
    rows, _ = planned(
        pacs, Archive(tmp_path), {"PatientID": "P1"}, {"PatientID": "P*"}, {"PatientID": "P9"}
    )
    numbers = [(r.studies, len(r.series), sum(s.instances or 0 for s in r.series)) for r in rows]
    assert numbers == [(1, 2, 8), (2, 3, 10), (0, 0, 0)]


def test_counts_are_taken_from_the_series_level_where_the_pacs_tells_them(
    pacs: FakePacs, tmp_path: Path
) -> None:
    _, asked = planned(pacs, Archive(tmp_path), {"PatientID": "P1"})
    assert asked["IMAGE"] == 0
    assert pacs.asked("C-MOVE") == []


def test_without_counts_series_are_listed_instance_by_instance(tmp_path: Path) -> None:
    with FakePacs(ANNA, behaviour=Behaviour(omit_counts=True)) as pacs:
        rows, asked = planned(pacs, Archive(tmp_path), {"PatientID": "P1"}, {"PatientID": "P1"})
    assert [[s.instances for s in row.series] for row in rows] == [[5, 3], [5, 3]]
    assert asked["IMAGE"] == 4
    assert asked["STUDY"] == 3, "only the first row is asked again"


def test_reads_of_single_instances_for_a_column_are_counted(pacs: FakePacs, tmp_path: Path) -> None:
    rows, asked = planned(pacs, Archive(tmp_path), {"PatientID": "P1", "SequenceName": "*fl3d1"})
    assert len(rows[0].series) == 1
    assert asked["IMAGE"] == 2


def test_what_is_here_already_is_not_fetched_again(pacs: FakePacs, tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for image in ANNA[:4]:
        path = archive.instance_path(image.SeriesInstanceUID, image.SOPInstanceUID)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    rows, _ = planned(pacs, archive, {"PatientID": "P1"})
    assert [(s.here, s.missing) for s in rows[0].series] == [(4, 1), (0, 3)]


def rows_of(*sizes: int) -> list[PlannedRow]:
    return [
        PlannedRow(
            number,
            tuple(PlannedSeries("1", f"1.{number}.{n}", "CT", 1, 0) for n in range(size)),
        )
        for number, size in enumerate(sizes, start=2)
    ]


@pytest.mark.parametrize(
    ("sizes", "limit", "called_out"),
    [
        ((2, 3, 900), None, {4}),
        ((1, 1, 49), None, set()),
        ((1, 1, 51), None, {4}),
        ((400, 500, 1001), None, {4}),
        ((1, 7, 900), 5, {3, 4}),
        ((1, 7, 900), 1000, set()),
        ((0, 0, 0), None, set()),
        ((1, 0), 0, {2}),
    ],
)
def test_rows_that_match_suspiciously_much_are_called_out(
    sizes: tuple[int, ...], limit: int | None, called_out: set[int]
) -> None:
    assert suspicious(rows_of(*sizes), limit) == called_out


def series(modality: str, instances: int | None, here: int = 0) -> PlannedSeries:
    return PlannedSeries("1.2", "1.2.3", modality, instances, here)


def test_bytes_come_from_the_archive_or_a_table_and_guesses_are_said() -> None:
    sizes = Sizes({"MR": 1000.0})
    wanted = [series("MR", 5, here=2), series("CT", 2), series("ZZ", 1), series("US", None)]
    assert sizes.of(wanted) == 3000 + 2 * TYPICAL_BYTES["CT"] + OTHER_BYTES
    assert sizes.guessed(wanted) == {"CT", "ZZ"}


def test_the_archive_tells_the_mean_bytes_of_each_modality(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for uid, modality, content in (
        ("1.1", "CT", b"1234"),
        ("1.2", "CT", b"12"),
        ("1.3", "MR", b""),
    ):
        archive.write_order(
            Order(
                batch_id="batch-1",
                series=Series(study_uid="1", series_uid=uid, modality=modality),
                actions=Actions(),
                out="",
                subject="",
                session="",
                folder="",
                release_folder="",
            )
        )
        if content:
            archive.instance_path(uid, f"{uid}.1").write_bytes(content)
    (archive.incoming / "1.4").mkdir()
    (archive.incoming / "1.4" / "order.json").write_text("not JSON")
    assert known_sizes(archive).known == {"CT": 3.0}
    assert known_sizes(Archive(tmp_path / "none")).known == {}


@pytest.mark.parametrize(
    ("pace", "seconds"),
    [
        (Pace(moves=2, instance_ms=50.0), 25.5),
        (Pace(moves=1, instance_ms=50.0), 51.0),
        (Pace(moves=2, instance_ms=50.0, series_per_minute=1), 600.0),
        (Pace(moves=2, instance_ms=50.0, instances_per_second=10), 100.0),
        (Pace(moves=2, instance_ms=50.0, bytes_per_second=1000), 1000.0),
        (Pace(moves=2, instance_ms=50.0, pause_every=5, pause_s=60.0), 85.5),
        (Pace(moves=2, instance_ms=50.0, pause_every=30, pause_s=60.0), 25.5),
    ],
)
def test_the_slowest_limit_decides_the_time(pace: Pace, seconds: float) -> None:
    assert pace.seconds(series=10, instances=1000, size=1_000_000) == pytest.approx(seconds)


def test_without_a_ledger_the_defaults_are_the_throttle() -> None:
    settings = Settings(ledger_http=f"http://127.0.0.1:{free_port()}", pacs_concurrency=3)
    node = PacsNode(address="a", port=1, called_aet="B", calling_aet="C")
    pace = pace_of(settings, batch(node, batch_size=7, batch_wait_s=9.0), Measured())
    assert (pace.moves, pace.measured, pace.pause_every, pace.pause_s) == (3, False, 7, 9.0)
    assert pace_of(settings, batch(node), Measured(instance_ms=2.5)).instance_ms == 2.5


@pytest.mark.parametrize(
    ("keys", "broad"),
    [
        ({"PatientID": "P1", "StudyDate": "20100101-"}, False),
        ({"AccessionNumber": "A7"}, False),
        ({"StudyInstanceUID": "1.2\\1.3"}, False),
        ({"PatientID": "P*"}, True),
        ({"PatientID": "P?", "AccessionNumber": "A7"}, False),
        ({"StudyDate": "20100101"}, True),
        ({"Modality": "MR", "PatientName": "Doe^Jane"}, True),
    ],
)
def test_a_row_without_any_exact_identifier_is_broad(keys: dict[str, str], broad: bool) -> None:
    assert is_broad(keys) is broad


def guard(pacs: FakePacs, yes_over: int | None, *rows: dict[str, str]) -> None:
    numbered = [QueryRow(number, keys) for number, keys in enumerate(rows, start=2)]
    check_size(batch(pacs.node()), numbered, yes_over, Settings(dimse_timeout_s=10.0))


def test_a_batch_above_the_limit_is_refused(pacs: FakePacs) -> None:
    with pytest.raises(InputError, match="more than 2 series"):
        guard(pacs, 2, {"PatientID": "P*"})


def test_a_batch_at_the_limit_goes_on(pacs: FakePacs) -> None:
    guard(pacs, 3, {"PatientID": "P*"}, {"PatientID": "P1"})


def test_the_default_limit_guards_broad_rows(
    pacs: FakePacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacstream_cli.plan.SERIES_LIMIT", 2)
    with pytest.raises(InputError, match="--yes-over"):
        guard(pacs, None, {"PatientName": "D*"})


def test_exact_rows_are_not_counted_unless_that_is_asked_for(pacs: FakePacs) -> None:
    guard(pacs, None, {"PatientID": "P1"}, {"PatientID": "P2"})
    assert pacs.asked("C-FIND") == []
    with pytest.raises(InputError):
        guard(pacs, 1, {"PatientID": "P1"})


def test_counting_never_lists_instances(pacs: FakePacs) -> None:
    guard(pacs, 100, {"PatientID": "P*"})
    assert pacs.asked("C-FIND", "SERIES") != []
    assert pacs.asked("C-FIND", "IMAGE") == []


def run(pacs: FakePacs, tmp_path: Path, *flags: str) -> tuple[int, str]:
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {
                "server_address": "127.0.0.1",
                "port": pacs.port,
                "server_AET": pacs.aet,
                "AET": "PACSTREAM",
                "move_AET": "PACSTREAM",
                "move_port": free_port(),
                "batch_size": 30,
                "batch_wait_time": 0,
            }
        )
    )
    rows = [{"PatientID": "P1"}, {"PatientID": "P9"}, {"PatientID": "P*"}]
    queries = write_queries(tmp_path / "queries.csv", rows)
    done = CliRunner().invoke(
        plan,
        [str(queries), "--config", str(config), *flags],
        env={"PACSTREAM_DATA": str(tmp_path / "data")},
    )
    return done.exit_code, done.stdout


def test_the_command_tells_all_as_json_and_counts_a_series_once(
    pacs: FakePacs, tmp_path: Path
) -> None:
    code, output = run(pacs, tmp_path, "--json", "--suspicious", "2")
    assert code == 0
    view = json.loads(output)
    total = view["total"]
    assert (total["studies"], total["series"], total["instances"]) == (2, 3, 10)
    assert total["to_fetch"] == 10
    assert total["rows_without_match"] == [3]
    assert total["rows_suspicious"] == [4]
    assert [row["remarks"] for row in view["rows"]] == [[], ["no_match"], ["suspiciously_many"]]
    assert view["requests"]["IMAGE"] == 0
    assert view["image_level_to_come"]["requests"] == 3
    assert not (tmp_path / "data").exists()


def test_the_table_calls_out_rows_and_shows_nothing_of_a_patient(
    pacs: FakePacs, tmp_path: Path
) -> None:
    code, output = run(pacs, tmp_path)
    assert code == 0
    assert "rows with no match: 3" in output
    assert "3 series of 2 studies, 10 instances" in output
    image = ANNA[0]
    planted = ("P1", "Doe", image.StudyInstanceUID, image.SeriesInstanceUID, image.StudyDate)
    assert [secret for secret in planted if str(secret) in output] == []
