"""Several workers on one port, as the operator and the senders see them."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest
from pynetdicom import AE
from pynetdicom.association import Association

from pacstream.archive import Archive
from pacstream.errors import InputError
from pacstream.receiving.siblings import living
from pacstream.settings import Settings, load_settings
from pacstream_store_scp import supervisor
from pacstream_store_scp.board import OK, TURN_S, Place, new_board
from pacstream_store_scp.port import holders
from pacstream_store_scp.supervisor import Post, Supervisor
from tests.fakes.datasets import make_series
from tests.fakes.sender import Sender
from tests.fakes.upper_layer import Context
from tests.unit.store_scp.processes import START_S, crew, started
from tests.unit.store_scp.scp import (
    Announcements,
    free_port,
    new_settings,
    order_for,
    parts,
    running,
    saved,
    send,
    wait_for,
)

VERIFICATION = Context(1, "1.2.840.10008.1.1")


def verification(port: int) -> Association:
    ae = AE("SENDER")
    ae.add_requested_context(VERIFICATION.abstract)
    association = ae.associate("127.0.0.1", port)
    assert association.is_established
    return association


@pytest.mark.parametrize(("senders", "each"), [(4, 2), (8, 4)])
def test_associations_are_spread_evenly(tmp_path: Path, senders: int, each: int) -> None:
    with crew(tmp_path) as seen, ExitStack() as stack:
        for _ in range(senders):
            stack.enter_context(Sender(seen.port).associate(VERIFICATION))

        assert list(seen.associations().values()) == [each, each]
        wait_for(lambda: seen.health()[1]["associations"] == senders)


def test_connections_of_one_moment_are_spread_evenly(tmp_path: Path) -> None:
    with crew(tmp_path) as seen, ExitStack() as stack:
        senders = [stack.enter_context(Sender(seen.port)) for _ in range(40)]
        for sender in senders:
            sender.associate(VERIFICATION)

        assert list(seen.associations().values()) == [20, 20]


def test_who_has_ended_associations_gets_the_next_ones(tmp_path: Path) -> None:
    with crew(tmp_path) as seen, ExitStack() as stack:
        senders = [stack.enter_context(Sender(seen.port).associate(VERIFICATION)) for _ in range(6)]
        before = seen.associations()
        for sender in senders[:4]:
            sender.release()
        wait_for(lambda: seen.health()[1]["associations"] == 2)
        for _ in range(4):
            stack.enter_context(Sender(seen.port).associate(VERIFICATION))

        assert set(before.values()) == set(seen.associations().values()) == {3}


def test_a_worker_that_stands_still_leaves_all_connections_to_the_other(tmp_path: Path) -> None:
    with crew(tmp_path) as seen, ExitStack() as stack:
        still, other = seen.workers()
        os.kill(still, signal.SIGSTOP)
        try:
            time.sleep(2 * TURN_S)
            for _ in range(3):
                stack.enter_context(Sender(seen.port).associate(VERIFICATION))
            assert seen.associations() == {still: 0, other: 3}
            wait_for(lambda: seen.health()[1]["workers"] == 1)
        finally:
            os.kill(still, signal.SIGCONT)
        wait_for(seen.is_complete)


def test_a_killed_worker_is_replaced_and_its_place_is_empty(tmp_path: Path) -> None:
    with crew(tmp_path) as seen, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(Sender(seen.port).associate(VERIFICATION))
        killed, left = seen.workers()
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: seen.health()[1]["associations"] == 2)
        wait_for(lambda: seen.health()[1]["restarts"] == 1)
        wait_for(seen.is_complete, START_S)
        for _ in range(2):
            stack.enter_context(Sender(seen.port).associate(VERIFICATION))

        assert killed not in seen.workers()
        assert seen.associations() == dict.fromkeys(seen.workers(), 2)
        assert left in seen.workers()


def test_a_dead_worker_with_the_fewest_connections_keeps_nobody_waiting(tmp_path: Path) -> None:
    with crew(tmp_path) as seen, Sender(seen.port).associate(VERIFICATION):
        [idle] = [pid for pid, number in seen.associations().items() if number == 0]
        os.kill(idle, signal.SIGKILL)

        with Sender(seen.port, 3.0).associate(VERIFICATION):
            wait_for(lambda: seen.health()[1]["associations"] == 2)


def test_the_replacement_takes_over_what_a_killed_worker_had_answered(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "data")
    series = make_series(instances=6)
    archive.write_order(order_for(series[0]))
    paths = saved(tmp_path / "sent", series)
    with crew(archive.root) as seen:
        for path in paths:
            assert send(seen.port, path) == [0]
        tokens = {pid: token for token, pid in living(archive.run).items()}
        owners = Counter(part.name.split(".")[1] for part in parts(archive))
        killed = next(pid for pid in seen.workers() if owners[tokens[pid]])
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: seen.health()[1]["restarts"] == 1)
        wait_for(seen.is_complete, START_S)
        [replaced] = set(living(archive.run)) - set(tokens.values())

        inherited = [part for part in parts(archive) if part.name.split(".")[1] == replaced]
        assert len(inherited) == owners[tokens[killed]]
        assert len(parts(archive)) == 6
    announced = Announcements()
    with running(new_settings(archive.root), announced):
        wait_for(lambda: set(announced.uids) == {d.SOPInstanceUID for d in series})


@pytest.mark.parametrize("to_all", [False, True], ids=["supervisor", "process group"])
def test_a_stop_lets_associations_of_all_workers_end(tmp_path: Path, to_all: bool) -> None:
    with crew(tmp_path) as seen:
        associations = [verification(seen.port) for _ in range(4)]
        workers = seen.workers()
        for pid in [*workers, seen.process.pid] if to_all else [seen.process.pid]:
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: holders(seen.port) == [])
        assert len(living(tmp_path / "run")) == 3
        for association in associations:
            assert association.send_c_echo().Status == 0x0000
            association.release()
        seen.process.wait(timeout=40)

        assert seen.process.returncode == 0
        assert not any(psutil.pid_exists(pid) for pid in workers)
        assert living(tmp_path / "run") == {}


def test_a_stop_while_the_workers_are_being_started_is_heeded(tmp_path: Path) -> None:
    port = free_port()
    with started(tmp_path, port, PACSTREAM_STORE_WORKERS="2") as process:
        wait_for(lambda: len(holders(port)) == 2)
        for holder in holders(port):
            os.kill(holder.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=40)

    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_a_worker_that_does_not_end_is_killed_and_not_called_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_S", 1.0)
    settings, stopping = new_settings(tmp_path), threading.Event()
    chief = Supervisor(settings, 2)
    chief.start()
    running = threading.Thread(target=chief.run, args=(stopping,))
    running.start()
    wait_for(lambda: chief.health()[1]["workers"] == 2, START_S)
    workers = {holder.pid for holder in holders(settings.store_port)} - {os.getpid()}
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    stopping.set()
    running.join()

    assert not chief.stop()
    assert not any(psutil.pid_exists(pid) for pid in workers)


def test_no_worker_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    with crew(tmp_path) as seen:
        family = psutil.Process(seen.process.pid).children(recursive=True)
        seen.process.kill()
        seen.process.wait()

        wait_for(lambda: holders(seen.port) == [])
        assert psutil.wait_procs(family, timeout=40)[1] == []


def test_a_store_scp_of_the_same_zone_shares_the_port_of_a_supervisor(tmp_path: Path) -> None:
    with crew(tmp_path) as seen, started(tmp_path, seen.port) as another:
        wait_for(lambda: another.pid in {holder.pid for holder in holders(seen.port)}, START_S)

        assert another.poll() is None


def test_a_supervisor_of_another_zone_does_not_share_the_port(tmp_path: Path) -> None:
    settings = new_settings(tmp_path / "one")
    other = {"PACSTREAM_STORE_WORKERS": "2"}
    with (
        running(settings, Announcements()),
        started(tmp_path / "other", settings.store_port, **other) as process,
    ):
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert f"port {settings.store_port} (PACSTREAM_STORE_PORT) is taken" in errors


def test_another_zone_does_not_share_the_port_of_workers(tmp_path: Path) -> None:
    with crew(tmp_path / "one") as seen, started(tmp_path / "other", seen.port) as process:
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert f"port {seen.port}" in errors


def test_a_taken_health_port_is_named_by_the_supervisor(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        told = {
            "PACSTREAM_HTTP_PORT": str(holder.getsockname()[1]),
            "PACSTREAM_STORE_WORKERS": "2",
        }
        with started(tmp_path, free_port(), **told) as process:
            _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "(PACSTREAM_HTTP_PORT) is taken" in errors


def test_settings_that_no_worker_can_start_with_are_told_once(tmp_path: Path) -> None:
    told = {"PACSTREAM_AMQP_URL": "amqp://host:no-port/", "PACSTREAM_STORE_WORKERS": "4"}
    with started(tmp_path, free_port(), **told) as process:
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert errors.count("PACSTREAM_AMQP_URL is not an AMQP URL") == 1


def test_health_tells_of_all_workers(tmp_path: Path) -> None:
    with crew(tmp_path, 3) as seen:
        assert seen.health() == (
            503,
            {
                "service": "store_scp",
                "status": "waiting for the broker",
                "associations": 0,
                "queued": 0,
                "workers": 3,
                "workers_wanted": 3,
                "restarts": 0,
            },
        )


def test_pauses_before_a_replacement_grow_and_are_short_again_after_a_long_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = get_context("spawn")
    [entry] = new_board(context, 1)
    post = Post(0, entry)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pauses = []
    for life_s in [1, 1, 1, 1, 1, 1, 1, 1, 61, 1]:
        post.take(context.Process())
        now += life_s
        entry.connections, entry.status, entry.turned_s = 7, OK, now
        assert post.status == OK
        pauses.append(post.vacate())
        assert (entry.connections, post.status, post.due) == (0, 0, now + pauses[-1])

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 0.1, 0.2]


def test_the_one_with_the_fewest_connections_of_those_that_listen_is_next() -> None:
    board = new_board(get_context("spawn"), 3)
    with socket.socket() as listener:
        places = [Place(listener, board, number) for number in range(3)]
    for entry, connections in zip(board, (2, 1, 1), strict=True):
        entry.connections, entry.turned_s = connections, time.monotonic()

    assert [place.is_next() for place in places] == [False, True, True]
    board[1].turned_s = board[2].turned_s = 0.0
    assert places[0].is_next()


def test_workers_are_a_number_or_one_for_each_core() -> None:
    assert Settings().store_processes == 1
    assert Settings(store_workers="12").store_processes == 12
    assert Settings(store_workers="auto").store_processes == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("wish", ["0", "-1", "two", "100", "2.0"])
def test_other_numbers_of_workers_are_refused(wish: str) -> None:
    with pytest.raises(InputError, match="PACSTREAM_STORE_WORKERS"):
        load_settings({"PACSTREAM_STORE_WORKERS": wish})
