"""The ledger on PostgreSQL: the same code, a private server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacstream.messages import SeriesFound
from pacstream_cli.ports import free_port, start_of
from pacstream_ledger import control
from pacstream_ledger.alone import claim_on, wait_to_be_alone
from pacstream_ledger.schema import METADATA, open_database
from pacstream_ledger.subjects import adopt
from pacstream_ledger.throttle import Throttle
from tests.fakes.driven import Driven, series_of
from tests.fakes.line import FakeLine, make_batch, make_found

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
USER = "postgres"


class PrivatePostgres:
    """A cluster in a folder of its own. PostgreSQL refuses to run as root, who becomes `USER`."""

    def __init__(self) -> None:
        if not PROGRAMS:
            raise RuntimeError("no PostgreSQL server: apt-get install postgresql")
        self._programs = PROGRAMS[-1]
        self._folder = Path(tempfile.mkdtemp(prefix="pacstream-pg-"))
        self._data = self._folder / "data"
        self._port = free_port(start_of(self._folder))
        if os.geteuid() == 0:
            shutil.chown(self._folder, USER, USER)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> PrivatePostgres:
        self._run("initdb", "-D", str(self._data), "-U", USER, "-A", "trust", "--no-sync")
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -k {self._folder} -F"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", options, "start")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
        done = subprocess.run(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")


@pytest.fixture(scope="module")
def server() -> Iterator[PrivatePostgres]:
    with PrivatePostgres() as postgres:
        yield postgres


@pytest.fixture
def url(server: PrivatePostgres) -> str:
    """The database, empty."""
    engine = open_database(server.url)
    METADATA.drop_all(engine)
    engine.dispose()
    return server.url


@pytest.mark.parametrize(("seed", "at_once"), [(0, 1), (1, 1), (2, 5), (3, 50)])
def test_any_order_and_repetition_of_facts_ends_complete(url: str, seed: int, at_once: int) -> None:
    batch = make_batch(3, save=True, info=True, anonymize=True, convert=True)
    found = {
        2: [make_found(batch, 2, 1), make_found(batch, 2, 2)],
        3: [make_found(batch, 3, 2), make_found(batch, 3, 3, instances=70)],
        4: list[SeriesFound](),
    }
    line = FakeLine(batch, found, lose={"1.2.3.9": 1})
    report = Driven(url, line, seed=seed, repeat=True, at_once=at_once).run()
    assert report["delivered"] is True
    assert report["instances"]["done"] == 76


def test_a_bad_fact_leaves_nothing_of_its_group_behind(url: str) -> None:
    batch = make_batch(1, info=True)
    driven = Driven(url, FakeLine(batch, {2: []}))
    [request] = driven.line.submit()
    good, bad = make_found(batch, 2, 1), make_found(batch, 2, 2)
    with pytest.raises(Exception, match="evidence"):
        driven.ledger.record(request, good, bad.model_copy(update={"evidence": None}))
    assert (driven.report_or_none(), driven.unsent()) == (None, [])
    driven.ledger.record(request)
    driven.ledger.record(good)
    assert list(series_of(driven.report())) == ["1.2.1"]


def test_a_partial_series_names_what_is_missing(url: str) -> None:
    batch = make_batch(1, save=True, anonymize=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1, instances=5)]}, lose={"1.2.1.4": 99})
    series = series_of(Driven(url, line).run())["1.2.1"]
    assert (series["state"], series["missing"]) == ("partial", ["1.2.1.4"])
    assert series["instances"]["failed"] == 1


def test_a_batch_with_names_beyond_ascii_and_a_series_without_uids(url: str) -> None:
    batch = make_batch(1, save=True)
    found = make_found(batch, 2, 1, patient_id="Zoë-Ø")
    counted = found.model_copy(update={"expected": (), "evidence": "count", "expected_count": 3})
    line = FakeLine(batch, {2: [counted]})
    driven = Driven(url, line)
    driven.submit()
    driven.requested()
    driven.end("1.2.1", reason="pacs_unreachable")
    series = series_of(driven.report())["1.2.1"]
    assert (series["retrieval"], series["instances"]["pending"]) == ("waiting", 3)


def test_a_refresh_records_everything_anew(url: str) -> None:
    batch = make_batch(1, save=True).model_copy(update={"refresh": True})
    found = make_found(batch, 2, 1)
    line = FakeLine(batch, {2: [found]}, archive={"1.2.1": set(found.expected)})
    report = Driven(url, line).run()
    assert report["delivered"] is True
    assert [move.instances for move in line.moves] == [()]


def test_what_a_third_node_lists_is_compared(url: str) -> None:
    batch = make_batch(1, move=True)
    batch = batch.model_copy(update={"destination_node": batch.pacs})
    found = [make_found(batch, 2, 1), make_found(batch, 2, 2)]
    line = FakeLine(batch, {2: found}, lose={"1.2.1.1": 1, "1.2.2.1": 99})
    series = series_of(Driven(url, line, repeat=True).run())
    assert series["1.2.1"]["state"] == "complete"
    assert (series["1.2.2"]["state"], series["1.2.2"]["missing"]) == ("partial", ["1.2.2.1"])
    assert (series["1.2.2"]["instances"]["done"], series["1.2.2"]["instances"]["failed"]) == (2, 1)


def test_a_pseudonym_is_one_patients_only(url: str) -> None:
    batch = make_batch(1, anonymize=True)
    found = [make_found(batch, 2, 1), make_found(batch, 2, 2, patient_id="P2")]
    found = [one.model_copy(update={"pseudonym": "S1"}) for one in found]
    driven = Driven(url, FakeLine(batch, {2: found}))
    assert driven.run()["series"] == {"complete": 1, "failed": 1}
    adopt(driven.ledger.engine)


def test_limits_breaker_and_cancel_hold(url: str) -> None:
    batch = make_batch(1, save=True)
    found = [make_found(batch, 2, number) for number in range(1, 9)]
    driven = Driven(url, FakeLine(batch, {2: found}), throttle=Throttle(moves=3))
    driven.submit()
    first = driven.requested()
    assert len(first) == 3
    for uid in first:
        driven.end(uid, reason="pacs_busy")
    with driven.ledger.engine.begin() as db:
        view = driven.ledger.gate.view_of(db, "PACS@127.0.0.1:104")
    assert (view["breaker"]["state"], view["moving"]) == ("open", 0)
    control.set_throttle(driven.ledger, '{"limits": {"moves": 1, "bytes_per_second": 5e7}}')
    driven.clock.now += 20.0
    assert len(driven.requested()) == 1
    control.cancel(driven.ledger, batch.batch_id)
    assert driven.report()["series"] == {"cancelled": 7, "pending": 1}


@pytest.mark.parametrize("seed", range(2))
def test_the_places_hold_over_a_whole_batch(url: str, seed: int) -> None:
    batch = make_batch(1, save=True)
    found = [make_found(batch, 2, number) for number in range(1, 9)]
    line = FakeLine(batch, {2: found}, lose={"1.2.2.1": 1, "1.2.7.1": 9})
    driven = Driven(url, line, seed=seed, repeat=True, throttle=Throttle(moves=2))
    assert driven.run()["series"] == {"complete": 7, "partial": 1}
    assert driven.most_under_way == 2


def test_a_second_ledger_waits_until_the_session_of_the_first_has_gone(url: str) -> None:
    first = wait_to_be_alone(url)
    second = claim_on(url)
    assert not second.is_granted()
    second.release()
    first.release()
    wait_to_be_alone(url, poll_s=0.05).release()
