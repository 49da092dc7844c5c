"""What is made of all that a batch has delivered: Karnak's elements, a file-set."""

from __future__ import annotations

from pathlib import Path

from pacstream.archive import inside
from pacstream.batch_action import Outcome, Task
from pacstream.errors import InputError, RejectedError
from pacstream_exporter.delivered import delivered_folders
from pacstream_exporter.karnak import CREATOR, Tags, tag_folders
from pacstream_exporter.media.file_set import create_file_set

MEDIA = "media"


def add_karnak_tags(task: Task) -> Outcome:
    """Write Karnak's elements into the release, in place: the pseudonym as code, no day shift, for
    the dates are shifted already. Options: `album`, and `creator` if it is not PACSMAN's.

    Raises RejectedError `instances_missing`, `no_release`, and RetryLaterError `disk`.
    """
    album, creator = task.options["album"], task.options.get("creator", CREATOR)
    delivered = delivered_folders(task)
    if not all(one.code for one in delivered):
        raise RejectedError("Karnak's elements are for a release", code="no_release")
    folders = {one.folder: Tags(one.code, album, creator=creator) for one in delivered}
    summary = tag_folders(folders, may_go_on=task.may_go_on)
    counts = {
        "instances": summary.instances,
        "tagged": summary.tagged + summary.before,
        "left_out": len(summary.left_out),
    }
    return Outcome(counts, reason_of(summary.is_whole), summary.going_on)


def reason_of(is_whole: bool) -> str:
    return "" if is_whole else "instances_left_out"


def make_file_set(task: Task) -> Outcome:
    """Make `OUT/media/<batch_id>` a file-set of all instances.

    Raises RejectedError `instances_missing` or `file_set_folder`, RetryLaterError `disk`.
    """
    sources = [one.folder for one in delivered_folders(task)]
    if not sources:
        return Outcome({"instances": 0, "written": 0})
    out = inside(task.out, Path(MEDIA, task.manifest.batch.batch_id))
    try:
        summary = create_file_set(sources, out, may_go_on=task.may_go_on)
    except InputError:
        raise RejectedError(
            "the file-set's folder has other files, or no room", code="file_set_folder"
        ) from None
    counts = {
        "instances": summary.instances,
        "written": summary.written,
        "duplicates": summary.duplicates,
        "left_out": len(summary.left_out),
    }
    return Outcome(counts, reason_of(summary.is_whole), summary.going_on)
