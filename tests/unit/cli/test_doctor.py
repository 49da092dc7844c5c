"""What `doctor` says of a PACS that behaves in one certain way."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from demo.pacs import free_port
from pacstream.messages import PacsProfile
from pacstream.settings import Settings
from pacstream_cli.commands_pacs import doctor
from pacstream_cli.config import PacsConfig
from pacstream_cli.doctor import (
    REJECTIONS,
    TRIED,
    Check,
    Diagnosis,
    Place,
    examine,
    explain_rejection,
    network_problem,
)
from pacstream_cli.move_trials import Moved
from pacstream_cli.profiles import read_profile
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs

TODAY = datetime.date(2020, 1, 3)
IMAGES = make_series(instances=16, rows=4)
NAME = "Doe^Jane"


class Trial:
    """A fake PACS with one series, and a place from which it is examined."""

    def __init__(self, pacs: FakePacs, data: Path, move_port: int) -> None:
        config = PacsConfig(
            address="127.0.0.1",
            port=pacs.port,
            server_aet=pacs.aet,
            aet="PACSTREAM",
            move_aet="PACSTREAM",
            move_port=move_port,
            batch_size=30,
            batch_wait_time=0.0,
        )
        settings = Settings(data=data, dimse_timeout_s=10.0)
        self.place = Place(config, config.node(), settings, stack=False, own_broker=True)

    def diagnosis(self) -> Diagnosis:
        return examine(self.place, TODAY)


@contextlib.contextmanager
def trial(tmp_path: Path, behaviour: Behaviour | None = None) -> Iterator[Trial]:
    port = free_port()
    destinations = {"PACSTREAM": ("127.0.0.1", port)}
    with FakePacs(IMAGES, destinations=destinations, behaviour=behaviour) as pacs:
        yield Trial(pacs, tmp_path / "data", port)


def check(diagnosis: Diagnosis, name: str) -> Check:
    return next(one for one in diagnosis.checks if one.name == name)


def wrong(diagnosis: Diagnosis) -> list[str]:
    return [one.name for one in diagnosis.checks if one.state == "wrong"]


def finding(diagnosis: Diagnosis, key: str) -> object:
    return next((one.value for one in diagnosis.findings if one.key == key), None)


def test_a_sound_pacs_passes_and_its_ways_are_found(tmp_path: Path) -> None:
    with trial(tmp_path, Behaviour(move_delay_s=0.005)) as one:
        diagnosis = one.diagnosis()
    assert diagnosis.passed, diagnosis.checks
    assert wrong(diagnosis) == []
    found = {one.key: one.value for one in diagnosis.findings}
    speed = found.pop("measured.instance_ms")
    assert isinstance(speed, float)
    assert speed > 0
    assert found == {
        "unsupported_keys": (),
        "counts": True,
        "image_level": True,
        "relational": True,
        "move_works": True,
        "uid_lists": True,
        "cancels": True,
    }


def test_the_self_test_leaves_nothing_on_disk(tmp_path: Path) -> None:
    with trial(tmp_path) as one:
        assert one.diagnosis().passed
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("behaviour", "key", "value"),
    [
        (Behaviour(omit_counts=True), "counts", False),
        (Behaviour(relational=False), "relational", False),
        (Behaviour(hide_study_uid=True), "relational", False),
        (Behaviour(refuse_levels={"IMAGE": 0xA900}), "image_level", False),
        (
            Behaviour(ignore_keys=frozenset({"SeriesDescription"})),
            "unsupported_keys",
            ("SeriesDescription",),
        ),
        (Behaviour(unmatched_keys=frozenset({"Modality"})), "unsupported_keys", ("Modality",)),
        (Behaviour(ignore_cancel=True, move_delay_s=0.01), "cancels", False),
        (Behaviour(limits={"IMAGE": 10}), "result_limit", 10),
    ],
)
def test_each_way_of_a_pacs_becomes_a_finding(
    tmp_path: Path, behaviour: Behaviour, key: str, value: object
) -> None:
    with trial(tmp_path, behaviour) as one:
        assert finding(one.diagnosis(), key) == value


def test_keys_are_told_as_matched_ignored_or_not_returned(tmp_path: Path) -> None:
    behaviour = Behaviour(
        ignore_keys=frozenset({"ProtocolName"}), unmatched_keys=frozenset({"Modality"})
    )
    with trial(tmp_path, behaviour) as one:
        keys = {k.keyword: (k.matching, k.returned) for k in one.diagnosis().find.keys}
    assert keys["ProtocolName"] == ("ignored", False)
    assert keys["Modality"] == ("ignored", True)
    assert keys["PatientID"] == ("matched", True)


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (Behaviour(empty_success=True), "Success"),
        (Behaviour(drop_every=4), "Success though 4 of 16 did not arrive"),
    ],
)
def test_a_success_that_is_none_is_called_a_lie(
    tmp_path: Path, behaviour: Behaviour, says: str
) -> None:
    with trial(tmp_path, behaviour) as one:
        diagnosis = one.diagnosis()
    assert wrong(diagnosis) == ["move destination"]
    assert says in check(diagnosis, "honesty").text
    assert finding(diagnosis, "move_works") is False
    assert not diagnosis.passed


def test_an_unknown_destination_is_named(tmp_path: Path) -> None:
    with FakePacs(IMAGES) as pacs:
        diagnosis = Trial(pacs, tmp_path, free_port()).diagnosis()
    assert wrong(diagnosis) == ["move destination"]
    assert "does not know the destination PACSTREAM" in check(diagnosis, "move destination").text


def test_a_taken_storage_port_is_named_with_its_holder(tmp_path: Path) -> None:
    with trial(tmp_path) as one, socket.socket() as holder:
        holder.bind(("0.0.0.0", one.place.config.move_port))
        holder.listen()
        diagnosis = one.diagnosis()
    assert wrong(diagnosis) == ["storage port"]
    assert "held by" in check(diagnosis, "storage port").text


def test_a_wrong_called_title_is_named(tmp_path: Path) -> None:
    with trial(tmp_path, Behaviour(check_called_aet=True)) as one:
        good = one.diagnosis()
        node = one.place.node.model_copy(update={"called_aet": "OTHER"})
        bad = examine(replace(one.place, node=node), TODAY)
    assert "another is not" in check(good, "called AE title").text
    assert wrong(bad) == ["called AE title"]
    assert check(bad, "calling AE title").state == "untried"


def test_a_pacs_without_a_free_association_is_told_as_busy(tmp_path: Path) -> None:
    with trial(tmp_path, Behaviour(busy_associations=1)) as one:
        diagnosis = one.diagnosis()
    assert wrong(diagnosis) == ["network"]
    assert "limit of associations" in check(diagnosis, "network").text


def test_finds_that_end_in_an_abort_are_told_as_a_calling_title(tmp_path: Path) -> None:
    with trial(tmp_path, Behaviour(abort_finds=100)) as one:
        diagnosis = one.diagnosis()
    assert wrong(diagnosis) == ["calling AE title"]
    assert check(diagnosis, "C-ECHO").state == "ok"


def test_a_refused_level_is_named_with_its_status(tmp_path: Path) -> None:
    with trial(tmp_path, Behaviour(refuse_levels={"SERIES": 0xC001})) as one:
        diagnosis = one.diagnosis()
    assert wrong(diagnosis) == ["C-FIND"]
    assert "SERIES" in check(diagnosis, "C-FIND").text
    assert "0xC001" in check(diagnosis, "C-FIND").text


def test_a_pacs_without_any_small_series_leaves_the_move_untried(tmp_path: Path) -> None:
    with FakePacs(make_series(instances=70, rows=2)) as pacs:
        diagnosis = Trial(pacs, tmp_path, free_port()).diagnosis()
    assert wrong(diagnosis) == []
    assert check(diagnosis, "move destination").state == "untried"
    assert pacs.asked("C-MOVE") == []
    assert not diagnosis.passed


def test_c_move_is_not_needed_where_images_come_by_c_get(tmp_path: Path) -> None:
    with FakePacs(IMAGES) as pacs:
        place = Trial(pacs, tmp_path, free_port()).place
        profile = PacsProfile(retrieve="c-get")
        node = place.node.model_copy(update={"profile": profile})
        diagnosis = examine(replace(place, node=node), TODAY)
    assert check(diagnosis, "move destination").state == "wrong"
    assert check(diagnosis, "C-GET").state == "ok"
    assert diagnosis.passed


def test_a_dicomweb_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with trial(tmp_path) as one:
        profile = PacsProfile(source="dicomweb", web_url=f"http://127.0.0.1:{free_port()}")
        node = one.place.node.model_copy(update={"profile": profile})
        diagnosis = examine(replace(one.place, node=node), TODAY)
    assert wrong(diagnosis) == ["DICOMweb"]
    assert not diagnosis.passed


def test_every_reason_of_a_refusal_has_words_and_a_culprit() -> None:
    for source, reasons in {1: (1, 2, 3, 7), 2: (1, 2), 3: (1, 2)}.items():
        for reason in reasons:
            at_fault, words = explain_rejection(source, reason)
            assert at_fault in TRIED
            assert words == REJECTIONS[source, reason][1]
    assert explain_rejection(1, 3)[0] == "calling"
    assert explain_rejection(1, 7)[0] == "called"
    assert "source 9, reason 9" in explain_rejection(9, 9)[1]


def test_a_port_where_nobody_listens_and_an_unknown_host_are_told_apart() -> None:
    assert "nothing listens" in network_problem("127.0.0.1", free_port(), 2.0)
    assert "host name" in network_problem("no-such-host.invalid", 104, 2.0)


def test_a_server_that_is_no_pacs_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, trial(tmp_path) as one:

        def close_all() -> None:
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()

        threading.Thread(target=close_all, daemon=True).start()
        node = one.place.node.model_copy(update={"port": server.getsockname()[1]})
        diagnosis = examine(replace(one.place, node=node), TODAY)
    assert wrong(diagnosis) == ["network"]
    assert "no DICOM server" in check(diagnosis, "network").text


def test_a_broker_that_is_not_there_is_named(tmp_path: Path) -> None:
    with trial(tmp_path) as one:
        settings = one.place.settings.model_copy(
            update={"amqp_url": f"amqp://127.0.0.1:{free_port()}/"}
        )
        diagnosis = examine(replace(one.place, settings=settings, own_broker=False), TODAY)
    assert wrong(diagnosis) == ["broker"]


def test_a_data_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with trial(tmp_path) as one:
        settings = one.place.settings.model_copy(update={"data": tmp_path / "data" / "below"})
        diagnosis = examine(replace(one.place, settings=settings), TODAY)
    assert wrong(diagnosis) == ["disk"]


@pytest.mark.parametrize(
    ("rhythm", "nagle"),
    [
        ((41.0, 40.2, 43.9, 40.1), True),
        ((1.0, 88.0, 90.0, 86.0), True),
        ((2.0, 3.0, 2.0, 41.0), False),
        ((41.0, 40.0), False),
        ((), False),
    ],
)
def test_multiples_of_40_ms_are_taken_for_nagle(rhythm: tuple[float, ...], nagle: bool) -> None:
    assert Moved(rhythm=rhythm).has_nagle is nagle


@pytest.mark.parametrize(
    ("behaviour", "state", "says"),
    [
        (Behaviour(), "ok", "compared"),
        (Behaviour(refuse_levels={"IMAGE": 0xA900}), "note", "find_refused_A900"),
    ],
)
def test_a_third_node_is_asked_if_the_configuration_names_its_place(
    tmp_path: Path, behaviour: Behaviour, state: str, says: str
) -> None:
    with trial(tmp_path) as one, FakePacs(IMAGES, behaviour=behaviour) as third:
        config = replace(
            one.place.config,
            move_query_address="127.0.0.1",
            move_query_port=third.port,
            move_query_aet=third.aet,
        )
        one.place = replace(one.place, config=config)
        diagnosis = one.diagnosis()
    assert diagnosis.passed
    assert check(diagnosis, "third node").state == state
    assert says in check(diagnosis, "third node").text


def test_without_its_place_no_third_node_is_spoken_of(tmp_path: Path) -> None:
    with trial(tmp_path) as one:
        assert "third node" not in [each.name for each in one.diagnosis().checks]


def run(one: Trial, tmp_path: Path, *flags: str) -> tuple[int, str]:
    """The command's exit code and its output."""
    config = one.place.config
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps(
            {
                "server_address": config.address,
                "port": config.port,
                "server_AET": config.server_aet,
                "AET": config.aet,
                "move_AET": config.move_aet,
                "move_port": config.move_port,
                "batch_size": 30,
                "batch_wait_time": 0,
            }
        )
    )
    environment = {"PACSTREAM_DATA": str(tmp_path / "data"), "PACSTREAM_AMQP_URL": ""}
    done = CliRunner().invoke(doctor, ["--config", str(file), *flags], env=environment)
    return done.exit_code, done.output


def test_the_command_writes_a_profile_that_can_be_read(tmp_path: Path) -> None:
    with trial(tmp_path, Behaviour(omit_counts=True)) as one:
        code, output = run(one, tmp_path)
    assert code == 0, output
    profile = read_profile(tmp_path / "data" / "pacs" / "FAKEPACS.toml")
    assert not profile.counts
    assert profile.is_of(one.place.node)


def test_nothing_is_written_if_that_is_not_wanted(tmp_path: Path) -> None:
    with trial(tmp_path) as one:
        code, _ = run(one, tmp_path, "--no-write")
    assert code == 0
    assert not (tmp_path / "data" / "pacs").exists()


def test_json_and_exit_code_tell_what_is_wrong(tmp_path: Path) -> None:
    with FakePacs(IMAGES) as pacs:
        code, output = run(Trial(pacs, tmp_path, free_port()), tmp_path, "--json")
    assert code == 1
    view = json.loads(output)
    assert view["ok"] is False
    assert view["wrong"] == ["move destination"]
    assert view["findings"]["move_works"] is False


def test_nothing_of_a_patient_is_shown(tmp_path: Path) -> None:
    with trial(tmp_path) as one:
        _, plain = run(one, tmp_path)
        _, as_json = run(one, tmp_path, "--json")
    image = IMAGES[0]
    planted = [NAME, "Doe", image.PatientBirthDate, image.StudyInstanceUID]
    planted += [image.SeriesInstanceUID, image.SOPInstanceUID, image.SeriesDescription]
    profile = (tmp_path / "data" / "pacs" / "FAKEPACS.toml").read_text()
    for text in (plain, as_json, profile):
        assert [secret for secret in planted if secret in text] == []
