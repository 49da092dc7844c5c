"""Tries out what a batch will need, before anything is published.

Network, called AE title and C-ECHO; our store SCP's port; and, with one instance that the first
rows match, that the PACS knows the C-MOVE destination and can deliver to it. PACS answer an unknown
destination in different ways (0xA801, 0xC000, an abort), so only a delivery proves it. Whether the
destination of a --move can be asked afterwards what it has is said, too.
"""

from __future__ import annotations

import time
from itertools import islice

from pydicom.dataset import Dataset
from pynetdicom.association import Association

from pacstream.archive import Archive
from pacstream.dimse import associate
from pacstream.errors import InputError, PacsRejectedError, PacsUnreachableError, RetryLaterError
from pacstream.messages import Batch, PacsNode, Series, SeriesFound
from pacstream.settings import Settings
from pacstream_cli.submission import Submission
from pacstream_query.associations import Associations
from pacstream_query.finder import find_series
from pacstream_query.listing import list_instances

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"

ROWS_TRIED = 5
ARRIVAL_S, LOOK_S = 10.0, 0.01

WHAT_TO_ASK = {
    "called_aet_unknown": "server_AET of the configuration is not the PACS's own AE title",
    "calling_aet_unknown": "the PACS administrator has to register AET of the configuration",
    "no_presentation_context": "the PACS offers no Study Root C-FIND and C-MOVE on this port",
}


def needs_store(batch: Batch) -> bool:
    """Whether instances come to our store SCP: by C-MOVE, not by C-GET or over the web."""
    return batch.actions.retrieves and batch.pacs.profile.retrieve == "c-move"


def check_pacs(submission: Submission, timeout_s: float) -> None:
    """C-ECHO with the titles of the configuration; a DICOMweb server is asked for one study.

    Raises InputError saying what is wrong.
    """
    node, actions = submission.batch.pacs, submission.batch.actions
    profile = node.profile
    if profile.source == "dicomweb" or (actions.retrieves and profile.retrieve == "wado-rs"):
        check_web(profile.web_url, timeout_s)
    uses_web_only = profile.source == "dicomweb" and profile.retrieve == "wado-rs"
    if not uses_web_only or actions.move:
        _check_echo(node, timeout_s)


def check_web(url: str, timeout_s: float) -> None:
    """Raises InputError if no DICOMweb server answers (PS3.18 section 10.6: 200, or 204)."""
    import requests  # slow to load, and most PACS are asked by DIMSE

    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(
                f"{url.rstrip('/')}/studies",
                params={"limit": "1"},
                headers={"Accept": "application/dicom+json"},
                timeout=timeout_s,
            )
        except requests.RequestException as error:
            raise InputError(
                f"the DICOMweb server of the profile's web_url does not answer "
                f"({type(error).__name__})"
            ) from None
    if answer.status_code not in (200, 204):
        raise InputError(
            f"the DICOMweb server of the profile's web_url answers {answer.status_code}"
        )


def _check_echo(node: PacsNode, timeout_s: float) -> None:
    where = f"{node.address}:{node.port} as {node.called_aet}"
    try:
        association = associate(node, [VERIFICATION], timeout_s)
    except PacsUnreachableError as error:
        raise InputError(
            f"the PACS does not answer at {where} ({error.code}): check server_address (server_ip) "
            "and port, and that a firewall lets this machine through"
        ) from None
    except PacsRejectedError as error:
        hint = WHAT_TO_ASK.get(error.code, str(error))
        raise InputError(f"the PACS refuses the association at {where}: {hint}") from None
    try:
        status = association.send_c_echo()
    finally:
        association.release()
    if status is None or status.get("Status") != 0x0000:
        raise InputError(f"the PACS at {where} does not answer C-ECHO with Success")


def check_destination(submission: Submission, settings: Settings) -> str:
    """Let the PACS send one instance to the destination; returns a sentence for the user.

    Raises InputError if it can't deliver. Without a match in the first rows nothing can be tried.
    """
    if submission.batch.actions.retrieves and not needs_store(submission.batch):
        return f"images come by {submission.batch.pacs.profile.retrieve}: no destination is needed"
    try:
        found = _one_series(submission, settings.dimse_timeout_s)
    except RetryLaterError as error:
        raise InputError(f"the PACS does not answer C-FIND: {error}") from None
    if found is None:
        return f"the first {ROWS_TRIED} rows give nothing to try the C-MOVE destination with"
    return _try_move(submission, found, settings)


def _one_series(submission: Submission, timeout_s: float) -> SeriesFound | None:
    associations = Associations(timeout_s)
    try:
        for query in islice(submission.messages(), ROWS_TRIED):
            for fact in find_series(query, associations):
                if isinstance(fact, SeriesFound) and fact.expected:
                    return fact
        return None
    finally:
        associations.close()


def _try_move(submission: Submission, found: SeriesFound, settings: Settings) -> str:
    batch = submission.batch
    series, instance = found.series, found.expected[0]
    archive = Archive(settings.data)
    if batch.actions.retrieves:
        archive.admit(series.study_uid, series.series_uid, series.patient_id)
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = series.study_uid
    identifier.SeriesInstanceUID = series.series_uid
    identifier.SOPInstanceUID = instance
    started = time.monotonic()
    status, completed = _move(submission, identifier, settings.dimse_timeout_s)
    arrived = not batch.actions.retrieves or _arrives(archive, series.series_uid, instance)
    if completed and arrived:
        took_ms = 1000 * (time.monotonic() - started)
        delivers = f"the PACS delivers to {batch.destination} ({took_ms:.0f} ms)"
        return delivers + _destination_says(batch, series, settings)
    answer = "no answer" if status is None else f"status 0x{status:04X}"
    raise InputError(
        f"the PACS can't deliver to the C-MOVE destination {batch.destination} ({answer}): its "
        f"administrator has to register AE title {batch.destination} with this machine's address "
        f"and port {submission.config.move_port}"
    )


def _destination_says(batch: Batch, series: Series, settings: Settings) -> str:
    """Whether the destination of a --move answers C-FIND; nothing if it is our own store SCP."""
    if not batch.actions.move:
        return ""
    if batch.destination_node is None:
        return "; what comes there is known by the PACS's counters only (no move_query_address)"
    uids = (series.study_uid, series.series_uid)
    problem = destination_problem(batch.destination_node, uids, settings)
    return f"; {problem}" if problem else "; it answers C-FIND, so what is there can be compared"


def destination_problem(node: PacsNode, uids: tuple[str, str], settings: Settings) -> str:
    """Why the destination can't be asked for the series with these study and series UIDs, or empty.

    A destination that does not have the series yet answers all the same.
    """
    associations = Associations(
        settings.dimse_timeout_s, connection_timeout_s=settings.connection_timeout_s
    )
    try:
        _, code = list_instances(node, *uids, associations)
    finally:
        associations.close()
    where = f"{node.called_aet} at {node.address}:{node.port}"
    counters = "the PACS's counters have to do"
    return f"{where} does not list instances by C-FIND ({code}): {counters}" if code else ""


def _move(submission: Submission, identifier: Dataset, timeout_s: float) -> tuple[int | None, int]:
    """The last status and the number of instances that the PACS says it has sent."""
    association: Association = associate(submission.batch.pacs, [STUDY_ROOT_MOVE], timeout_s)
    status, completed = None, 0
    try:
        for answer, _ in association.send_c_move(
            identifier,
            submission.batch.destination,
            STUDY_ROOT_MOVE,
        ):
            status = answer.get("Status")
            completed = int(answer.get("NumberOfCompletedSuboperations") or 0)
    finally:
        association.release()
    return status, completed


def _arrives(archive: Archive, series_uid: str, sop_instance_uid: str) -> bool:
    deadline = time.monotonic() + ARRIVAL_S
    while sop_instance_uid not in archive.instances(series_uid):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True
