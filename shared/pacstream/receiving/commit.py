"""Group commit: make written instances durable, give them their names, announce them."""

from __future__ import annotations

import errno
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pacstream import logs
from pacstream.archive import Archive, flush_folder
from pacstream.durable import start_write_back
from pacstream.errors import BrokerUnavailableError, UnroutableError
from pacstream.messages import InstancesReceived, Message, ReceivedInstance
from pacstream.receiving.handover import Fate, WrittenInstance
from pacstream.receiving.part10 import same_data_set

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
POLL_S = 0.1

NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})

Publish = Callable[[Message], None]


class NotDurableError(OSError):
    """A folder's names could not be flushed: the kernel tells it once, and a second flush would
    succeed whether or not anything has reached the disk. Whoever gets this has to begin anew."""


class Committer(threading.Thread):
    """Empties `handovers` for as long as the process runs, one group after the other.

    `connect` and `publish` raise BrokerUnavailableError while there is no broker; both are called
    from this thread only. Nothing is announced before it is durable, and nothing is dropped while
    the broker is away: the queue fills, and that holds the senders. The temporary name of an
    instance goes when it is announced: by what is left the next process knows what was not.
    `at_once`: senders wait for the commit, so it does not wait `delay_s` for more instances; the
    announcement does.

    It ends when the disk does not keep names (`NotDurableError`, or any other OSError that is not
    about one instance). Then it `has_failed`: senders that wait are told that their instance is
    lost, nothing more is taken, and the process has to end. The whole files under their temporary
    names are what the next process begins with.
    """

    def __init__(
        self,
        handovers: queue.Queue[WrittenInstance],
        archive: Archive,
        publish: Publish,
        connect: Callable[[], None],
        *,
        instances: int,
        delay_s: float,
        at_once: bool = False,
    ) -> None:
        super().__init__(name="committer", daemon=True)
        self._handovers = handovers
        self._archive = archive
        self._publish = publish
        self._connect = connect
        self._instances = instances
        self._delay_s = delay_s
        self._at_once = at_once
        self._committed: list[WrittenInstance] = []
        self._due = 0.0
        self._stopping = threading.Event()
        self._giving_up = threading.Event()
        self._ended = threading.Event()
        self.broker_reached = False
        self.has_failed = False
        self.unannounced = 0

    def take(self, written: WrittenInstance, timeout_s: float) -> None:
        """Queue an instance for the next group. Raises queue.Full if there is no place for it in
        time, NotDurableError after the end."""
        if self._ended.is_set():
            raise NotDurableError(errno.EIO, "the committer has ended")
        self._handovers.put(written, timeout=timeout_s)
        if self._ended.is_set():
            self._give_up_queue()

    def run(self) -> None:
        try:
            self._work()
        except OSError as error:
            self.has_failed = True
            reason = errno.errorcode.get(error.errno or 0, "io_error")
            logs.event(log, "the disk keeps no names, giving up", logging.ERROR, reason=reason)
        finally:
            self._ended.set()
            self._give_up_queue()

    def _give_up_queue(self) -> None:
        while True:
            try:
                _settle(self._handovers.get_nowait(), "lost")
            except queue.Empty:
                return

    def _work(self) -> None:
        self._confirmed(self._connect)
        while True:
            group = self._gather()
            self._committed += commit(self._archive, group)
            is_last = not group and self._stopping.is_set()
            if self._committed and (is_last or self._is_due()):
                self._announce()
            if is_last:
                return

    def stop(self, grace_s: float) -> bool:
        """Commit and announce all that was handed over; call it when nothing more will come.

        Without a broker it gives up after `grace_s`: the files are durable then, and the next
        process announces them. False if something could not be announced.
        """
        self._stopping.set()
        self.join(grace_s)
        self._giving_up.set()
        self.join(grace_s)
        return not self.is_alive() and not self.has_failed and self.unannounced == 0

    def _gather(self) -> list[WrittenInstance]:
        wait_s = max(0.0, self._due - time.monotonic()) if self._committed else POLL_S
        try:
            group = [self._handovers.get(timeout=wait_s)]
        except queue.Empty:
            return []
        if not self._committed:
            self._due = time.monotonic() + self._delay_s
        # Asleep, not waiting for the next one: each put would wake this thread.
        if not self._at_once and self._handovers.qsize() < self._instances - 1:
            time.sleep(self._delay_s)
        while len(group) < self._instances:
            try:
                group.append(self._handovers.get_nowait())
            except queue.Empty:
                break
        return group

    def _is_due(self) -> bool:
        return len(self._committed) >= self._instances or time.monotonic() >= self._due

    def _announce(self) -> None:
        members, self._committed = self._committed, []
        facts = facts_of(self._archive, members)
        unsent = [fact for fact in facts if not self._confirmed(partial(self._publish, fact))]
        if unsent:
            self.unannounced += sum(len(fact.instances) for fact in unsent)
        else:
            forget(members)

    def _confirmed(self, send: Callable[[], None]) -> bool:
        """Try until the broker confirms; False if the process has to end before."""
        pause = FIRST_PAUSE_S
        while not self._giving_up.is_set():
            try:
                send()
            except (BrokerUnavailableError, UnroutableError) as error:
                if self.broker_reached or pause == FIRST_PAUSE_S:
                    logs.event(log, "broker away", logging.WARNING, reason=error.code)
                self.broker_reached = False
                self._giving_up.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self.broker_reached = True
                return True
        return False


def commit(archive: Archive, group: list[WrittenInstance]) -> list[WrittenInstance]:
    """Make a group durable under its final names: those for which that worked.

    Instances that the disk refuses now are left out: the sender's success was too early for them
    (unless it waits for the settlement), and the ledger asks for them again. The temporary names
    stay until `forget`. Raises NotDurableError if the names of a series can't be made durable; all
    of the group is settled then.
    """
    named = [written for written in _flush(group) if _named(archive, written)]
    gone: set[str] = set()
    failure: NotDurableError | None = None
    for series_uid in {written.series_uid for written in named}:
        try:
            if not _flushed(archive, series_uid):
                gone.add(series_uid)
        except OSError as error:
            gone.add(series_uid)
            failure = NotDurableError(error.errno, "a folder can't be flushed")
    for written in named:
        _settle(written, "lost" if written.series_uid in gone else "kept")
    if failure is not None:
        raise failure
    return [written for written in named if written.series_uid not in gone]


def facts_of(archive: Archive, members: list[WrittenInstance]) -> list[InstancesReceived]:
    """One fact for each series and batch; none for an order file without a batch (a trial)."""
    series: dict[tuple[str, str], list[WrittenInstance]] = {}
    for written in members:
        if written.batch_id:
            series.setdefault((written.series_uid, written.batch_id), []).append(written)
    return [_fact(archive, of_one) for of_one in series.values()]


def forget(group: list[WrittenInstance]) -> None:
    """Remove the temporary names: the instances are announced, or need not be."""
    for written in group:
        written.part.unlink(missing_ok=True)


def _flush(group: list[WrittenInstance]) -> list[WrittenInstance]:
    """Make the contents of the group durable; those for which it worked."""
    handles: dict[int, WrittenInstance] = {}
    for written in group:
        try:
            handles[os.open(written.part, os.O_RDONLY | os.O_CLOEXEC)] = written
        except OSError as error:
            _lost(written, error)
    start_write_back(handles)
    flushed: list[WrittenInstance] = []
    for handle, written in handles.items():
        try:
            os.fdatasync(handle)
            flushed.append(written)
        except OSError as error:
            _lost(written, error)
        finally:
            os.close(handle)
    return flushed


def _flushed(archive: Archive, series_uid: str) -> bool:
    """Make the new names durable; False if someone has removed the whole series meanwhile."""
    try:
        flush_folder(archive.series_folder(series_uid))
    except FileNotFoundError:
        reason = {"series": logs.ref(series_uid), "reason": "folder_removed"}
        logs.event(log, "series lost before its commit", logging.WARNING, **reason)
        return False
    return True


def _fact(archive: Archive, members: list[WrittenInstance]) -> InstancesReceived:
    first = members[0]
    return InstancesReceived(
        batch_id=first.batch_id,
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        instances=tuple(
            ReceivedInstance(
                sop_instance_uid=written.sop_instance_uid,
                path=archive.relative_instance(written.series_uid, written.sop_instance_uid),
                size=written.size,
            )
            for written in members
        ),
    )


def _final(archive: Archive, written: WrittenInstance) -> Path:
    return archive.instance_path(written.series_uid, written.sop_instance_uid)


def _named(archive: Archive, written: WrittenInstance) -> bool:
    """Name one flushed file; whether this content has its final name now."""
    final = _final(archive, written)
    try:
        if _claim(written.part, final) or same_data_set(written.part, final):
            return True
        _set_aside(archive, written)
    except OSError as error:
        _lost(written, error)
        return False
    _settle(written, "aside")
    return False


def _lost(written: WrittenInstance, error: OSError) -> None:
    written.part.unlink(missing_ok=True)
    _settle(written, "lost")
    _tell("instance lost before its commit", written, errno.errorcode.get(error.errno or 0))


def _settle(written: WrittenInstance, fate: Fate) -> None:
    if written.settlement is not None:
        written.settlement.settle(fate)


def _claim(part: Path, final: Path) -> bool:
    """Rename, but never over another file; False if the name is taken."""
    try:
        os.link(part, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        if final.exists():
            return False
        part.rename(final)
    return True


def _set_aside(archive: Archive, written: WrittenInstance) -> None:
    """Two contents of one UID came at the same time: the first has the name, keep the other."""
    target = archive.quarantine_path("conflicting", written.sop_instance_uid)
    written.part.replace(target)
    flush_folder(target.parent)
    _tell("instance in quarantine", written, "conflicting")


def _tell(text: str, written: WrittenInstance, reason: str | None) -> None:
    fields = {"series": logs.ref(written.series_uid), "reason": reason or "io_error"}
    instance = logs.ref(written.sop_instance_uid)
    logs.event(log, text, logging.WARNING, instance=instance, **fields)
