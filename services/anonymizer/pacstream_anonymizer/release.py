"""What the service does with a message: de-identify the instances that it names, keep the withheld
ones in quarantine, and say which is which."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from pacstream.archive import Archive, checked_uid, replacing
from pacstream.durable import FileGroup
from pacstream.errors import InputError, PacstreamError, RejectedError, RetryLaterError
from pacstream.keys import load_key
from pacstream.messages import (
    DeidentifyRequested,
    InstancesDeidentified,
    InstancesReceived,
    InstancesWithheld,
    Message,
    Order,
    WithheldInstance,
)
from pacstream_anonymizer.audit import Auditor
from pacstream_anonymizer.decisions import Decisions
from pacstream_anonymizer.deidentifier import (
    Look,
    Release,
    Released,
    Withheld,
    disk_error,
    release_of,
)
from pacstream_anonymizer.profile import Profile
from pacstream_anonymizer.second_look import look_for
from pacstream_anonymizer.shelf import Shelf


def release_received(
    archive: Archive, message: InstancesReceived, look: Look | None = None
) -> Iterator[Message]:
    """De-identify instances that have just come, if the batch they came for wants it."""
    order_file = archive.read_order(message.series_uid)
    order = order_file.orders.get(message.batch_id) if order_file else None
    if order is None or not order.actions.anonymize:
        return
    sources = [(one.sop_instance_uid, archive.resolve(one.path)) for one in message.instances]
    yield from _released(archive, order, sources, look)


def release_requested(
    archive: Archive, message: DeidentifyRequested, look: Look | None = None
) -> Iterator[Message]:
    """De-identify instances that were here before the order came."""
    series_uid = message.order.series.series_uid
    sources = [(uid, archive.instance_path(series_uid, uid)) for uid in message.instances]
    yield from _released(archive, message.order, sources, look)


def _released(
    archive: Archive, order: Order, sources: Iterable[tuple[str, Path]], look: Look | None
) -> Iterator[Message]:
    """What became of the instances, all files durable; then the error of those without a result.

    An error of one instance stops no other. One that time may cure is raised before one that stays:
    it brings the message back.
    """
    results: dict[str, Released | Withheld] = {}
    errors: list[PacstreamError] = []
    with FileGroup() as files:
        key = load_key(archive.keys, order.project, order.key_id)
        profile = Shelf(archive.root).get(order.project, order.profile)
        look = look or _look_of(profile)
        auditor = Auditor(archive.root, order.batch_id, order.project, key, profile)
        release = release_of(
            order, key, Path(order.out), files,
            profile=profile, look=look, trail=auditor.touched,
        )  # fmt: skip
        decisions = Decisions(archive.decisions)
        for uid, source in sources:
            try:
                waived = _waived(decisions, order.batch_id, uid, source)
                auditor.begin()
                results[uid] = _result(archive, release, source, uid, waived)
                auditor.end(uid, results[uid])
            except PacstreamError as error:
                errors.append(error)
        failed = files.commit()
    auditor.write(failed)
    yield from _facts(order, results, failed)
    if failed:
        errors.append(disk_error())
    if errors:
        raise min(errors, key=lambda error: not isinstance(error, RetryLaterError))


def _look_of(profile: Profile) -> Look | None:
    """What the profile asks for; without it nothing is released."""
    try:
        return look_for(ocr=profile.second_look)
    except InputError:
        raise RejectedError("the extra `ocr` is not installed", code="ocr_missing") from None


def _waived(decisions: Decisions, batch_id: str, uid: str, source: Path) -> frozenset[str]:
    """What operators let pass; nothing of a file that is not there."""
    try:
        return decisions.waived(batch_id, uid, source)
    except FileNotFoundError:
        return frozenset()
    except OSError:
        raise disk_error() from None


def _result(
    archive: Archive, release: Release, source: Path, uid: str, waived: frozenset[str]
) -> Released | Withheld:
    result = release.add(source, uid, waived)
    if isinstance(result, Withheld):
        quarantine(archive, source, release.series.series_uid, uid, result.reason)
    return result


def _facts(
    order: Order, results: Mapping[str, Released | Withheld], failed: Collection[Path]
) -> Iterator[Message]:
    done: dict[frozenset[str], list[str]] = {}
    withheld: list[WithheldInstance] = []
    for uid, result in results.items():
        if isinstance(result, Withheld):
            withheld.append(WithheldInstance(sop_instance_uid=uid, reason=result.reason))
        elif result.path not in failed:
            done.setdefault(result.waived, []).append(uid)
    batch_id, series_uid = order.batch_id, order.series.series_uid
    for waived, uids in done.items():
        yield InstancesDeidentified(
            batch_id=batch_id,
            series_uid=series_uid,
            instances=tuple(uids),
            waived=tuple(sorted(waived)),
        )
    if withheld:
        yield InstancesWithheld(batch_id=batch_id, series_uid=series_uid, instances=tuple(withheld))


def quarantine_path(archive: Archive, series_uid: str, uid: str, reason: str) -> Path:
    """Where an original is kept that is withheld for `reason`: a second run finds it again."""
    return archive.quarantine / reason / f"{checked_uid(series_uid)}-{checked_uid(uid)}.dcm"


def quarantine(archive: Archive, source: Path, series_uid: str, uid: str, reason: str) -> Path:
    """Keep an original in quarantine."""
    target = quarantine_path(archive, series_uid, uid, reason)
    try:
        if not (target.exists() and target.samefile(source)):
            with replacing(target) as part:
                link_or_copy(source, part)
    except OSError:
        raise RetryLaterError("the quarantine can't be written", code="disk") from None
    return target


def link_or_copy(source: Path, part: Path) -> None:
    """A hard link costs no space; not every file system has them."""
    try:
        part.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, part)
