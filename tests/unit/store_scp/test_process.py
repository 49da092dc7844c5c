"""The process as the operator sees it: ports, health, stop, kill, siblings."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from pynetdicom import AE

from pacstream.archive import Archive
from pacstream.receiving.siblings import Presence, boot, living, take_over
from pacstream.settings import Settings
from tests.fakes.datasets import make_series
from tests.fakes.sender import Sender
from tests.fakes.upper_layer import Context, Instance, store_pdus
from tests.unit.store_scp.processes import health_of, started, wait_until_listening
from tests.unit.store_scp.scp import (
    EXPLICIT_LITTLE,
    Announcements,
    data_set_of,
    free_port,
    new_settings,
    order_for,
    parts,
    running,
    saved,
    send,
    wait_for,
)

VERIFICATION = "1.2.840.10008.1.1"


def test_health_is_good_only_while_listening_with_a_broker(tmp_path: Path) -> None:
    announced = Announcements(away=True)
    settings = new_settings(tmp_path / "data", http_port=free_port())

    with running(settings, announced) as scp:
        assert health_of(settings.http_port) == (
            503,
            {
                "service": "store_scp",
                "status": "waiting for the broker",
                "associations": 0,
                "queued": 0,
            },
        )
        alive = urllib.request.urlopen(f"http://127.0.0.1:{settings.http_port}/live", timeout=5)
        assert alive.status == 200
        announced.away = False
        wait_for(lambda: health_of(settings.http_port)[0] == 200)
        ae = AE("SENDER")
        ae.add_requested_context(VERIFICATION)
        association = ae.associate("127.0.0.1", settings.store_port)
        assert health_of(settings.http_port)[1]["associations"] == 1
        association.release()
    assert scp.health()[1]["status"] == "not listening"


def test_a_kill_between_write_and_rename_leaves_no_final_name(tmp_path: Path) -> None:
    port, archive = free_port(), Archive(tmp_path / "data")
    series = make_series(instances=3)
    archive.write_order(order_for(series[0]))
    paths = saved(tmp_path / "sent", series)

    with started(archive.root, port) as process:
        wait_until_listening(process)
        assert send(port, *paths) == [0, 0, 0]
        process.kill()
        process.wait()

    assert len(parts(archive)) == 3
    assert archive.instances(series[0].SeriesInstanceUID) == set()


def test_the_next_process_announces_what_a_killed_one_had_answered(tmp_path: Path) -> None:
    port, archive = free_port(), Archive(tmp_path / "data")
    series = make_series(instances=3)
    archive.write_order(order_for(series[0]))
    with started(archive.root, port) as process:
        wait_until_listening(process)
        assert send(port, *saved(tmp_path / "sent", series)) == [0, 0, 0]
        process.kill()
        process.wait()
    announced = Announcements()

    with running(new_settings(archive.root), announced):
        wait_for(lambda: len(announced.uids) == 3)
        wait_for(lambda: parts(archive) == [])

    assert set(announced.uids) == {d.SOPInstanceUID for d in series}
    assert archive.instances(series[0].SeriesInstanceUID) == set(announced.uids)


def test_what_was_named_but_not_announced_is_announced_by_the_next_process(
    tmp_path: Path,
) -> None:
    settings = new_settings(tmp_path / "data")
    archive = Archive(settings.data)
    [instance] = make_series(instances=1)
    archive.write_order(order_for(instance))
    announced = Announcements()

    with running(settings, announced):
        wait_for(lambda: process_is_ready(settings))
        announced.away = True
        send(settings.store_port, *saved(tmp_path / "sent", [instance]))
        wait_for(lambda: bool(archive.instances(instance.SeriesInstanceUID)))
        [whole] = parts(archive)
        kept = whole.read_bytes()
        os.link(whole, tmp_path / "as it was")
        announced.away = False
        wait_for(lambda: parts(archive) == [])
    os.link(tmp_path / "as it was", whole.with_name(".00000000-dead.0.part"))
    again = Announcements()

    with running(settings, again):
        wait_for(lambda: again.uids == [instance.SOPInstanceUID])
        wait_for(lambda: parts(archive) == [])

    final = archive.instance_path(instance.SeriesInstanceUID, instance.SOPInstanceUID)
    assert final.read_bytes() == kept


def process_is_ready(settings: Settings) -> bool:
    """A sender gets an answer."""
    ae = AE("SENDER")
    ae.add_requested_context(VERIFICATION)
    association = ae.associate("127.0.0.1", settings.store_port)
    association.release()
    return association.is_released


def test_what_was_not_flushed_before_the_machine_went_down_is_not_trusted(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    [instance] = make_series(instances=1)
    archive.write_order(order_for(instance))
    [sent] = saved(tmp_path / "sent", [instance])
    folder = archive.series_folder(instance.SeriesInstanceUID)
    for token in ("00000000-dead", f"{boot()}-dead"):
        whole = folder / f".{token}.0.part"
        whole.write_bytes(sent.read_bytes())
        whole.chmod(0o440)

    left = take_over(archive, "me", {"me"}, time.time() + 1)

    assert left.removed == 1
    assert left.whole == parts(archive) == [folder / ".me.inherited-0.part"]


def test_what_was_on_its_way_to_quarantine_is_not_let_in_by_the_next_process(
    tmp_path: Path,
) -> None:
    archive = Archive(tmp_path / "data")
    [ordered] = make_series(instances=1)
    [other] = make_series(
        instances=1, study_uid="1.2.3.4", series_uid=str(ordered.SeriesInstanceUID)
    )
    archive.write_order(order_for(ordered))
    [sent] = saved(tmp_path / "sent", [other])
    folder = archive.quarantine_path("uid_mismatch", "x").parent
    left = folder / f".{boot()}-dead.0.part"
    left.write_bytes(sent.read_bytes())
    left.chmod(0o440)
    os.utime(left, (0, 0))
    announced = Announcements()

    with running(new_settings(archive.root), announced):
        wait_for(lambda: [path.name[0] for path in folder.iterdir()] == ["2"])

    assert announced.messages == []
    assert archive.instances(ordered.SeriesInstanceUID) == set()


def test_half_an_instance_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    port, archive = free_port(), Archive(tmp_path / "data")
    [instance] = make_series(instances=1, rows=512)
    archive.write_order(order_for(instance))
    [path] = saved(tmp_path / "sent", [instance])
    whole = Instance(
        str(instance.SOPClassUID), str(instance.SOPInstanceUID), EXPLICIT_LITTLE, data_set_of(path)
    )
    store = b"".join(store_pdus(whole))
    with started(archive.root, port) as process:
        wait_until_listening(process)
        with Sender(port).associate(Context(1, whole.sop_class)) as sender:
            sender.send(store[: len(store) // 2])
            wait_for(lambda: len(parts(archive)) == 1)
            process.kill()
            process.wait()
    announced = Announcements()

    with running(new_settings(archive.root), announced):
        wait_for(lambda: parts(archive) == [])

    assert announced.messages == []
    assert archive.instances(instance.SeriesInstanceUID) == set()


def test_temporary_files_of_a_living_sibling_stay(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    folder = archive.series_folder("1.2")
    folder.mkdir(parents=True)
    mine, ended = Presence(archive.run), Presence(archive.run)
    for token in (mine.token, ended.token):
        (folder / f".{token}.1.part").touch()
    os.close(ended._handle)

    tokens = living(archive.run)
    left = take_over(archive, "new", set(tokens), time.time() + 1)

    assert tokens == {mine.token: os.getpid()}
    assert left == ([], 1)
    assert [part.name for part in folder.iterdir()] == [f".{mine.token}.1.part"]
    mine.end()


def test_a_file_that_is_younger_than_the_process_stays(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    part = archive.series_folder("1.2") / ".order.part"
    part.parent.mkdir(parents=True)
    part.touch()

    assert take_over(archive, "new", {"new"}, time.time() - 60) == ([], 0)
    assert part.exists()


def test_a_taken_port_is_named_with_its_holder_and_the_exit_code_is_1(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = int(holder.getsockname()[1])
        with started(tmp_path, port) as process:
            _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert f"port {port} (PACSTREAM_STORE_PORT) is taken by" in errors
    assert f"pid {os.getpid()}" in errors


def test_a_store_scp_of_another_zone_does_not_share_the_port(tmp_path: Path) -> None:
    settings = new_settings(tmp_path / "one")
    with (
        running(settings, Announcements()),
        started(tmp_path / "other", settings.store_port) as process,
    ):
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert f"port {settings.store_port}" in errors


def test_a_taken_health_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = int(holder.getsockname()[1])
        with started(tmp_path, free_port(), PACSTREAM_HTTP_PORT=str(port)) as process:
            _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert f"port {port} (PACSTREAM_HTTP_PORT) is taken" in errors


def test_two_processes_share_one_port(tmp_path: Path) -> None:
    port, archive = free_port(), Archive(tmp_path / "data")
    series = make_series(instances=16)
    archive.write_order(order_for(series[0]))
    paths = saved(tmp_path / "sent", series)

    with started(archive.root, port) as one, started(archive.root, port) as two:
        wait_until_listening(one)
        wait_until_listening(two)
        for path in paths:
            assert send(port, path) == [0]

    owners = {part.name.split(".")[1] for part in parts(archive)}
    assert len(parts(archive)) == 16
    assert len(owners) == 2


def test_a_stop_lets_a_running_association_end_and_exits_with_0(tmp_path: Path) -> None:
    port = free_port()
    ae = AE("SENDER")
    ae.add_requested_context(VERIFICATION)
    with started(tmp_path, port) as process:
        wait_until_listening(process)
        association = ae.associate("127.0.0.1", port)
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: not ae.associate("127.0.0.1", port).is_established)
        assert association.send_c_echo().Status == 0x0000
        association.release()
        process.wait(timeout=40)

    assert process.returncode == 0


def test_the_service_imports_neither_nameko_nor_eventlet(tmp_path: Path) -> None:
    code = (
        "import sys, pacstream_store_scp.__main__;"
        "print([m for m in ('nameko', 'eventlet', 'kombu') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.stdout.strip() == "[]"
