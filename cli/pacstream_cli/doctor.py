"""Which of network, AE titles, presentation contexts, C-FIND, storage port, C-MOVE, disk, clock and
broker is wrong: found out by trying each, one after the other.

A diagnosis holds codes, counts and titles of application entities: nothing of a patient.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import errno
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pika
from pynetdicom import AE
from pynetdicom.association import Association

from pacstream.archive import Archive
from pacstream.dimse import NO_DELAY, associate, new_ae, responses_only
from pacstream.errors import InputError, PacstreamError
from pacstream.messages import PacsNode
from pacstream.settings import Settings
from pacstream_cli.broker import find_epmd, find_server, place_of
from pacstream_cli.config import PacsConfig
from pacstream_cli.find_trials import (
    NOWHERE,
    STUDY_ROOT_FIND,
    Asker,
    FindReport,
    Level,
    try_find,
)
from pacstream_cli.move_trials import (
    NOBODY,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    UNKNOWN_DESTINATION,
    MoveReport,
    Trial,
    own_store_scp,
)
from pacstream_cli.ports import require_free
from pacstream_cli.preflight import check_web, destination_problem
from pacstream_cli.profiles import Finding
from pacstream_cli.submission import folder_problem

State = Literal["ok", "wrong", "note", "untried"]

VERIFICATION = "1.2.840.10008.1.1"
CONTEXTS = {
    VERIFICATION: "C-ECHO",
    STUDY_ROOT_FIND: "C-FIND",
    STUDY_ROOT_MOVE: "C-MOVE",
    STUDY_ROOT_GET: "C-GET",
}
TRIED = {
    "network": "network",
    "called": "called AE title",
    "calling": "calling AE title",
    "contexts": "presentation contexts",
}

REJECTIONS: dict[tuple[int, int], tuple[str, str]] = {
    (1, 1): ("calling", "refuses and gives no reason: ask its administrator what it wants"),
    (1, 2): ("contexts", "does not support the DICOM application context"),
    (1, 3): ("calling", "does not know our AE title: its administrator has to register AET"),
    (1, 7): ("called", "does not have this AE title: correct server_AET"),
    (2, 1): ("calling", "refuses in its ACSE layer and gives no reason"),
    (2, 2): ("contexts", "does not support the protocol version of DICOM's upper layer"),
    (3, 1): ("network", "is congested for the moment: try again later"),
    (3, 2): ("network", "has its limit of associations open: close others, or try again later"),
}
"""Source and reason of A-ASSOCIATE-RJ (PS3.8 section 9.3.4) -> what is wrong, and words for it."""

LITTLE_SPACE = 20_000_000_000
FIRST_YEAR = 2026
"""A clock that shows an earlier year is wrong: this program is not older."""

OLDEST_BROKER = (3, 10)
"""Quorum queues that keep a message through its dead-lettering (at-least-once)."""

CLOCK_NOT_SYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""


@dataclass(frozen=True)
class Check:
    """One line of the screen. What is `needed` and not ok makes the exit code."""

    name: str
    state: State
    text: str
    needed: bool = True

    @property
    def fails(self) -> bool:
        return self.needed and self.state in ("wrong", "untried")


@dataclass
class Diagnosis:
    """All checks in the order in which they were made, and what to write into the profile."""

    checks: list[Check] = field(default_factory=list)
    find: FindReport = field(default_factory=FindReport)
    findings: list[Finding] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not any(check.fails for check in self.checks)

    def add(self, name: str, problem: str, fine: str, *, needed: bool = True) -> bool:
        """One more check, wrong if there is a `problem`; whether it is fine."""
        self.checks.append(Check(name, "wrong" if problem else "ok", problem or fine, needed))
        return not problem

    def note(self, name: str, text: str, *, state: State = "note") -> None:
        self.checks.append(Check(name, state, text, needed=False))

    def untried(self, names: tuple[str, ...], why: str) -> None:
        self.checks += [Check(name, "untried", why) for name in names]


@dataclass(frozen=True)
class Place:
    """What is examined: the PACS, and this machine. `stack`: the services are up."""

    config: PacsConfig
    node: PacsNode
    settings: Settings
    stack: bool
    own_broker: bool
    """The stack would start a RabbitMQ of its own."""


def examine(place: Place, today: datetime.date) -> Diagnosis:
    """Try everything. Errors of the PACS and of this machine become checks, not exceptions."""
    diagnosis = Diagnosis()
    reachable = _examine_association(place, diagnosis)
    if reachable:
        _examine_find(place, diagnosis, today)
    else:
        diagnosis.untried(("C-FIND",), "needs an association")
    _examine_web(place, diagnosis)
    if _examine_disk(place, diagnosis):
        _examine_delivery(place, diagnosis)
    else:
        diagnosis.untried(("storage port", "move destination"), "needs the disk")
    _examine_third_node(place, diagnosis)
    _examine_clock(diagnosis, datetime.datetime.now(datetime.UTC))
    _examine_broker(place, diagnosis)
    return diagnosis


# Network and association


def _examine_association(place: Place, diagnosis: Diagnosis) -> bool:
    node = place.node
    where = f"{node.address}:{node.port}"
    refused = network_problem(node.address, node.port, min(place.settings.dimse_timeout_s, 10.0))
    if refused:
        diagnosis.add(TRIED["network"], f"{where} {refused}", "")
        later = (TRIED["called"], TRIED["calling"], TRIED["contexts"], "C-ECHO")
        diagnosis.untried(later, "needs a connection")
        return False
    association, at_fault, problem = _open(place, node)
    _tell_association(diagnosis, place, at_fault, problem)
    if association is None:
        diagnosis.untried((TRIED["contexts"], "C-ECHO"), "needs an association")
        return False
    try:
        accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
        works = _tell_contexts(diagnosis, accepted)
        answer = association.send_c_echo() if VERIFICATION in accepted else None
    finally:
        if association.is_established:
            association.release()
    status = None if answer is None else answer.get("Status")
    said = "no answer" if status is None else f"status 0x{status:04X}"
    diagnosis.add(
        "C-ECHO", "" if status == 0 else f"is not answered with Success: {said}", "Success"
    )
    return works


def network_problem(address: str, port: int, timeout_s: float) -> str:
    """Why no TCP connection can be had, or empty."""
    try:
        socket.create_connection((address, port), timeout_s).close()
    except socket.gaierror:
        return "is no known host name: correct server_address, or this machine's DNS"
    except ConnectionRefusedError:
        return "refuses the connection: nothing listens on this port, or a firewall rejects us"
    except TimeoutError:
        return f"does not answer within {timeout_s:g} s: wrong address, or a firewall drops us"
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "?")
        return f"can't be reached from this machine ({name})"
    return ""


def _open(place: Place, node: PacsNode) -> tuple[Association | None, str, str]:
    """An association with all contexts, or None, a key of `TRIED` and what is wrong."""
    ae: AE = new_ae(node.calling_aet, place.settings.dimse_timeout_s)
    for abstract_syntax in CONTEXTS:
        ae.add_requested_context(abstract_syntax)
    association = ae.associate(
        node.address, node.port, ae_title=node.called_aet, evt_handlers=[NO_DELAY]
    )
    if association.is_established:
        return responses_only(association), "", ""
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        at_fault, text = explain_rejection(answer.result_source, answer.diagnostic)
        return None, at_fault, text
    if answer is not None and answer.result == 0:
        return None, "contexts", "accepts neither C-ECHO nor Study Root C-FIND, C-MOVE or C-GET"
    return (
        None,
        "network",
        (
            "takes the connection and then is silent or aborts: what listens there is no DICOM "
            "server, wants TLS, or does not talk with this machine's address"
        ),
    )


def explain_rejection(source: int | None, reason: int | None) -> tuple[str, str]:
    """A key of `TRIED` and words for an A-ASSOCIATE-RJ."""
    unknown = ("calling", f"refuses: source {source}, reason {reason} (PS3.8 section 9.3.4)")
    return REJECTIONS.get((source or 0, reason or 0), unknown)


def _tell_association(diagnosis: Diagnosis, place: Place, at_fault: str, problem: str) -> None:
    node = place.node
    fine = {
        "network": f"{node.address}:{node.port} takes connections",
        "called": f"{node.called_aet} is accepted",
        "calling": f"{node.calling_aet} is accepted",
    }
    if not at_fault or at_fault == "contexts":
        fine["called"] += ", another is not" if _checks_called(place) else ", and so is any other"
    reached = True
    for key, text in fine.items():
        if key == at_fault:
            diagnosis.add(TRIED[key], f"{text.split()[0]}: the PACS {problem}", "")
            reached = False
        elif reached:
            diagnosis.add(TRIED[key], "", text)
        else:
            diagnosis.untried((TRIED[key],), "needs an association")


def _checks_called(place: Place) -> bool:
    """Whether the PACS minds by which title it is called."""
    association, _, _ = _open(place, place.node.model_copy(update={"called_aet": NOBODY}))
    if association is not None:
        association.release()
    return association is None


def _tell_contexts(diagnosis: Diagnosis, accepted: set[str]) -> bool:
    names = [name for uid, name in CONTEXTS.items() if uid in accepted]
    lacking = [name for uid, name in CONTEXTS.items() if uid not in accepted]
    text = f"Study Root: {', '.join(names)}" + (f"; not {', '.join(lacking)}" if lacking else "")
    usable = STUDY_ROOT_FIND in accepted and bool({STUDY_ROOT_MOVE, STUDY_ROOT_GET} & accepted)
    diagnosis.add(TRIED["contexts"], "" if usable else f"too few: {text}", text)
    return STUDY_ROOT_FIND in accepted


# C-FIND


def _examine_find(place: Place, diagnosis: Diagnosis, today: datetime.date) -> None:
    timeout_s = place.settings.dimse_timeout_s
    asker = Asker(lambda: associate(place.node, [STUDY_ROOT_FIND], timeout_s))
    try:
        diagnosis.find = try_find(asker, today)
    except PacstreamError as error:
        _tell_silence(diagnosis, place, error.code)
        return
    finally:
        asker.close()
    _tell_levels(diagnosis)
    _tell_keys(diagnosis)
    _find_findings(diagnosis)


def _tell_silence(diagnosis: Diagnosis, place: Place, code: str) -> None:
    """C-ECHO is answered and C-FIND is not: so Orthanc treats callers that it does not know."""
    text = (
        f"the PACS answers {place.node.calling_aet}'s C-ECHO, but ends its C-FIND ({code}): "
        "its administrator has to register AET and let it query"
    )
    wrong = Check(TRIED["calling"], "wrong", text)
    diagnosis.checks = [wrong if one.name == wrong.name else one for one in diagnosis.checks]
    diagnosis.untried(("C-FIND",), "is not answered")


def _tell_levels(diagnosis: Diagnosis) -> None:
    report = diagnosis.find
    levels: tuple[Level, ...] = ("STUDY", "SERIES", "IMAGE")
    refused = {level: code for level in levels if (code := report.levels.get(level)) is not None}
    for level, code in refused.items():
        text = f"level {level} is refused with status 0x{code:04X}"
        diagnosis.add("C-FIND", text, "", needed=level != "IMAGE")
    if "STUDY" in report.levels and "STUDY" not in refused and "SERIES" not in report.levels:
        diagnosis.untried(("C-FIND",), "the PACS shows us no study: what follows can't be tried")
    elif not refused:
        diagnosis.add("C-FIND", "", f"levels {', '.join(level for level in report.levels)} answer")
    if report.counts is not None:
        yes = "the PACS tells NumberOfSeriesRelatedInstances"
        no = (
            "NumberOfSeriesRelatedInstances is not told: each series is listed instance by instance"
        )
        diagnosis.note("instance counts", yes if report.counts else no, state=_good(report.counts))
    if report.relational is not None:
        yes = "a SeriesInstanceUID is found without its study"
        no = "a SeriesInstanceUID is not found without its study"
        diagnosis.note(
            "relational query", yes if report.relational else no, state=_good(report.relational)
        )
    if report.result_limit is not None:
        diagnosis.note("result limit", f"seen after {report.result_limit} answers")


def _good(value: bool) -> State:
    return "ok" if value else "note"


def _tell_keys(diagnosis: Diagnosis) -> None:
    """Attributes of instances are always matched here: of them only the return is of interest."""
    keys = diagnosis.find.keys
    if not keys:
        return
    sent = [key for key in keys if key.level != "IMAGE"]
    parts = [f"{sum(key.matching == 'matched' for key in sent)} of {len(sent)} are matched"]
    groups: dict[str, list[str]] = {}
    for key in keys:
        heeded = key.level == "IMAGE" or key.matching == "matched"
        words = ("" if heeded else key.matching, "" if key.returned else "not returned")
        if any(words):
            groups.setdefault(", ".join(filter(None, words)), []).append(key.keyword)
    parts += [f"{words}: {', '.join(names)}" for words, names in groups.items()]
    diagnosis.note("C-FIND keys", "; ".join(parts), state=_good(len(parts) == 1))


def _find_findings(diagnosis: Diagnosis) -> None:
    report, findings = diagnosis.find, diagnosis.findings
    bad = [k for k in report.keys if k.matching != "matched" and k.level != "IMAGE"]
    if report.keys:
        saw = ", ".join(f"{key.keyword} {key.matching}" for key in bad) or "all keys are matched"
        names = tuple(dict.fromkeys(key.keyword for key in bad))
        findings.append(Finding("unsupported_keys", names, saw))
    for key, value, what in (
        ("counts", report.counts, "NumberOfSeriesRelatedInstances"),
        ("image_level", report.image_level, "all instances of a series at IMAGE level"),
        ("relational", report.relational, "a SeriesInstanceUID without its study"),
    ):
        if value is not None:
            findings.append(Finding(key, value, f"{what}: {'yes' if value else 'no'}"))
    if report.result_limit is not None:
        findings.append(Finding("result_limit", report.result_limit, "a C-FIND ended there"))


def _examine_web(place: Place, diagnosis: Diagnosis) -> None:
    """Only where the profile names a DICOMweb server."""
    profile = place.node.profile
    if not profile.web_url:
        return
    problem = ""
    try:
        check_web(profile.web_url, place.settings.dimse_timeout_s)
    except InputError as error:
        problem = str(error)
    needed = profile.source == "dicomweb" or profile.retrieve == "wado-rs"
    diagnosis.add("DICOMweb", problem, "QIDO-RS answers at web_url", needed=needed)


# C-MOVE and C-GET


def _examine_delivery(place: Place, diagnosis: Diagnosis) -> None:
    needed = place.node.profile.retrieve == "c-move"
    try:
        with contextlib.ExitStack() as open_until_done:
            archive = _archive(place, open_until_done)
            diagnosis.add("storage port", "", _port_text(place))
            _try_delivery(place, diagnosis, archive, needed=needed)
    except InputError as error:
        diagnosis.add("storage port", str(error), "", needed=needed)
        if needed:
            diagnosis.untried(("move destination",), "needs the storage port")


def _archive(place: Place, open_until_done: contextlib.ExitStack) -> Archive:
    """Where what the PACS sends to move_port arrives. Raises InputError if it can't."""
    port = place.config.move_port
    if not place.stack:
        require_free(port, place.settings.store_host, "move_port")
        return open_until_done.enter_context(own_store_scp(place.settings, port, place.config.aet))
    if place.settings.store_port != port:
        raise InputError(
            f"the running store SCP listens on {place.settings.store_port}, move_port is {port}: "
            "start it with `pacstream up --config`"
        )
    problem = network_problem("127.0.0.1", port, 5.0)
    if problem:
        raise InputError(f"our store SCP is not there: 127.0.0.1:{port} {problem}")
    return Archive(place.settings.data)


def _port_text(place: Place) -> str:
    whose = "the running stack's store SCP" if place.stack else "free; a store SCP was tried there"
    return f"{place.config.move_port}: {whose}"


def _try_delivery(place: Place, diagnosis: Diagnosis, archive: Archive, *, needed: bool) -> None:
    if not diagnosis.find.series:
        diagnosis.checks.append(
            Check("move destination", "untried", "no small series was found to be sent", needed)
        )
        return
    trial = Trial(place.node, place.config.aet, archive, place.settings.dimse_timeout_s)
    try:
        report = trial.run(diagnosis.find.series)
    except PacstreamError as error:
        text = f"no association for C-MOVE ({error.code})"
        diagnosis.checks.append(Check("move destination", "wrong", text, needed))
        return
    problem = delivery_problem(report, place.config)
    speed = f", {report.instance_ms:.0f} ms each" if report.instance_ms is not None else ""
    delivered = f"{report.asked} instances came to {place.config.aet}{speed}"
    diagnosis.add("move destination", problem, delivered, needed=needed)
    _tell_move(diagnosis, report)
    _move_findings(diagnosis, report)


def delivery_problem(report: MoveReport, config: PacsConfig) -> str:
    """Why the images do not come, or empty if they do."""
    whole = report.whole
    if report.works or whole is None:
        return ""
    if report.came:
        return f"only {report.came} of {report.asked} instances came ({whole.said})"
    register = (
        f"its administrator has to register AE title {config.aet} with this machine's address "
        f"and port {config.move_port}"
    )
    if whole.status == UNKNOWN_DESTINATION:
        return f"the PACS does not know the destination {config.aet} ({whole.said}): {register}"
    if report.nobody is not None and report.nobody.status == whole.status:
        return (
            f"the PACS treats {config.aet} like a destination that it can't know ({whole.said}): "
            f"{register}; and a firewall has to let the PACS in"
        )
    return (
        f"the PACS knows the destination {config.aet}, but nothing comes ({whole.said}): "
        f"{register}; and a firewall has to let the PACS in"
    )


def _tell_move(diagnosis: Diagnosis, report: MoveReport) -> None:
    if report.lies:
        diagnosis.note("honesty", f"the PACS reports {report.lies}")
    elif report.works:
        diagnosis.note("honesty", "Success means that all came", state="ok")
    if report.whole is not None and report.whole.has_nagle:
        diagnosis.note(
            "speed",
            "Nagle's algorithm costs about 40 ms an instance at the PACS: DCMTK and Orthanc "
            "switch it off with TCP_NODELAY=1 in their environment",
        )
    if report.works:
        texts = {True: "heeded in C-MOVE", False: "not heeded in C-MOVE", None: "could not be told"}
        diagnosis.note("UID lists", texts[report.uid_lists], state=_good(bool(report.uid_lists)))
        diagnosis.note("C-CANCEL", texts[report.cancels], state=_good(bool(report.cancels)))
    got = report.got
    text = "not accepted" if got is None else "works" if got.completed else f"fails: {got.said}"
    diagnosis.note("C-GET", text, state=_good(text == "works"))


def _move_findings(diagnosis: Diagnosis, report: MoveReport) -> None:
    if report.whole is None:
        return
    findings = diagnosis.findings
    findings.append(Finding("move_works", report.works, f"self-test: {report.whole.said}"))
    cancels = report.cancels if report.cancels is not None else diagnosis.find.cancels
    for key, value, what in (
        ("uid_lists", report.uid_lists, "a C-MOVE of two UIDs"),
        ("cancels", cancels, "C-CANCEL"),
    ):
        if value is not None:
            findings.append(Finding(key, value, f"{what}: {'yes' if value else 'no'}"))
    if report.instance_ms is not None:
        speed = max(0.1, round(report.instance_ms, 1))
        findings.append(Finding("measured.instance_ms", speed, f"{report.asked} by C-MOVE"))


def _examine_third_node(place: Place, diagnosis: Diagnosis) -> None:
    """Only where the configuration says where move_AET answers C-FIND; --move does without it."""
    node = place.config.destination_node()
    if node is None:
        return
    problem = destination_problem(node, (NOWHERE["UI"], NOWHERE["UI"]), place.settings)
    where = f"{node.called_aet} at {node.address}:{node.port}"
    fine = f"{where} answers C-FIND: what --move sends there is compared with what it lists"
    diagnosis.note("third node", problem or fine, state=_good(not problem))


# This machine


def _examine_disk(place: Place, diagnosis: Diagnosis) -> bool:
    data = place.settings.data
    problem = folder_problem(data)
    free = 0 if problem else shutil.disk_usage(_existing(data.absolute())).free
    text = f"{free / 1e9:.0f} GB free for {data}"
    if not problem and free < LITTLE_SPACE:
        diagnosis.note("disk", f"only {text}")
        return True
    return diagnosis.add("disk", f"{data} {problem}" if problem else "", text)


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _examine_clock(diagnosis: Diagnosis, now: datetime.datetime) -> None:
    unseen = "DICOM can't show the PACS's clock"
    if now.year < FIRST_YEAR:
        diagnosis.add("clock", f"this machine's clock shows {now:%Y-%m-%d}", "")
    elif not _is_synchronised():
        diagnosis.note("clock", f"{now:%Y-%m-%d %H:%M} UTC, but nothing sets it (NTP); {unseen}")
    else:
        diagnosis.add("clock", "", f"{now:%Y-%m-%d %H:%M} UTC, set by NTP; {unseen}")


def _is_synchronised() -> bool:
    """What the kernel says of its clock; False where it can't be asked."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    # struct timex has 208 bytes; zeros ask without changing anything
    timex = ctypes.create_string_buffer(512)
    return adjtimex is not None and 0 <= adjtimex(timex) < CLOCK_NOT_SYNCHRONISED


def _examine_broker(place: Place, diagnosis: Diagnosis) -> None:
    if place.own_broker:
        try:
            find_server()
            find_epmd()
        except InputError as error:
            diagnosis.add("broker", str(error), "")
        else:
            diagnosis.add("broker", "", "not running; `pacstream up` starts one of its own")
        return
    url = place.settings.amqp_url
    try:
        version = broker_version(url)
    except PacstreamError as error:
        diagnosis.add("broker", str(error), "")
        return
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    old = f"RabbitMQ {version} at {place_of(url)} is too old: 3.10 or later is needed"
    fine = f"RabbitMQ {version} at {place_of(url)}"
    diagnosis.add("broker", old if numbers < OLDEST_BROKER else "", fine)


def broker_version(url: str) -> str:
    """The broker's own version. Raises InputError if it can't be reached or refuses."""
    try:
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError):
        raise InputError("PACSTREAM_AMQP_URL is not an AMQP URL") from None
    parameters.connection_attempts = 1
    parameters.socket_timeout = parameters.stack_timeout = 5
    told: list[str] = []

    def on_open(connection: Any) -> None:
        told.append(str(connection.server_properties.get("version", "?")))
        connection.close()

    def on_end(connection: Any, reason: object) -> None:
        connection.ioloop.stop()

    connection = pika.SelectConnection(parameters, on_open, on_end, on_end)
    connection.ioloop.start()
    if not told:
        raise InputError(
            f"no AMQP broker answers at {place_of(url)}, or it refuses the user or virtual host"
        )
    return told[0]
