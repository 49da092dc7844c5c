"""C-STORE of files as they are (PS3.4 annex B), with a status for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from pydicom.dataset import Dataset
from pynetdicom import _config
from pynetdicom.association import Association

from pacstream.dimse import associate
from pacstream.errors import PacstreamError, RetryLaterError
from pacstream.messages import PacsNode
from pacstream_exporter.delivery.contexts import (
    AT_ONCE,
    Load,
    Pair,
    accepted_pairs,
    loads,
    syntaxes,
)
from pacstream_exporter.delivery.encodings import CannotDecodeError, re_encoded
from pacstream_exporter.delivery.inventory import Item
from pacstream_exporter.delivery.outcome import Deliveries, Delivery, State, all_failed, failed

# A file's data set is sent as the bytes that stand there, and never held as a whole.
_config.STORE_SEND_CHUNKED_DATASET = True

MOST_ABORTS = 3
"""One after the other, without an instance taken in between: the node is gone."""
LAST_MESSAGE_ID = 65535
CLASS_REFUSED = 3
"""Result of a presentation context: abstract syntax not supported (PS3.8 table 9-18)."""

SUCCESS, DUPLICATE = 0x0000, 0x0111
WARNINGS = {
    0xB000: "elements_coerced",
    0xB006: "elements_discarded",
    0xB007: "class_mismatch_warned",
    0x0001: "store_warning",
    0x0107: "store_warning",
    0x0116: "store_warning",
}
"""PS3.4 table B.2-1 and PS3.7 annex C: stored, and the node says what is not as it was."""
REFUSALS = {0x0122: "sop_class_refused", 0x0124: "not_authorized"}
CLASS_MISMATCH, CANNOT_UNDERSTAND, OUT_OF_RESOURCES = 0xA9, 0xC, 0xA7
"""The first digits of ranges."""


@dataclass(frozen=True)
class Sender:
    """Sends to one node; may be used by several threads."""

    node: PacsNode
    decompress: bool
    timeout_s: float
    connection_timeout_s: float

    def lots(self, items: Sequence[Item], jobs: int) -> Iterator[Sequence[Item]]:
        share = min(AT_ONCE, -(-len(items) // jobs))
        return (load.items for load in loads(items, decompress=self.decompress, at_once=share))

    def send(self, items: Sequence[Item]) -> Deliveries:
        """Exactly one delivery for each item, in any order."""
        for load in loads(items, decompress=self.decompress, at_once=len(items)):
            yield from self._send(load)

    def _send(self, load: Load) -> Deliveries:
        left = list(load.items)
        aborts = 0
        while left:
            try:
                association = self._open(load)
            except PacstreamError as error:
                again = isinstance(error, RetryLaterError)
                yield from all_failed(left, error.code, again=again)
                return
            number = len(left)
            for delivery in _Conversation(association, self.decompress).store(left):
                left.remove(delivery.item)
                yield delivery
            aborts = aborts + 1 if number - len(left) <= 1 else 0
            if aborts >= MOST_ABORTS and left:
                yield from all_failed(left, "association_aborted", again=True)
                return

    def _open(self, load: Load) -> Association:
        return associate(
            self.node,
            load.contexts(),
            self.timeout_s,
            connection_timeout_s=self.connection_timeout_s,
        )


class _Conversation:
    """One association, until it ends or all is sent."""

    def __init__(self, association: Association, decompress: bool) -> None:
        self._association = association
        self._decompress = decompress
        self._accepted = accepted_pairs(association)
        self._numbers = count()

    def store(self, items: Sequence[Item]) -> Deliveries:
        """One delivery for each item up to the one at which the association broke."""
        try:
            for item in list(items):
                delivery = self._store(item)
                yield delivery
                if not self._association.is_established:
                    return
        finally:
            if self._association.is_established:
                self._association.release()

    def _store(self, item: Item) -> Delivery:
        identity = item.instance
        own = identity.transfer_syntax
        pairs: list[Pair] = [(identity.sop_class, one) for one in syntaxes(own, self._decompress)]
        accepted = next((pair for pair in pairs if pair in self._accepted), None)
        if accepted is None:
            return failed(item, self._refusal(identity.sop_class))
        try:
            what = item.path if accepted[1] == own else re_encoded(item.path, accepted[1])
            number = next(self._numbers) % LAST_MESSAGE_ID + 1
            answer = self._association.send_c_store(what, msg_id=number)
        except CannotDecodeError as error:
            return failed(item, str(error))
        except RuntimeError:  # pynetdicom's word for an association that has ended
            return failed(item, "association_aborted", again=True)
        except (OSError, EOFError, ValueError, AttributeError, KeyError):
            return failed(item, "unreadable")
        if "Status" not in answer:
            self._association.abort()
            return failed(item, "association_aborted", again=True)
        return delivery_of(item, status_of(answer))

    def _refusal(self, sop_class: str) -> str:
        """PS3.8 section 9.3.3.2: the class or only the transfer syntax is not taken."""
        results = {
            one.result
            for one in self._association.rejected_contexts
            if one.abstract_syntax == sop_class
        }
        taken = any(pair[0] == sop_class for pair in self._accepted)
        refused = results == {CLASS_REFUSED} and not taken
        return "sop_class_refused" if refused else "syntax_refused"


def status_of(answer: Dataset) -> int:
    return int(answer.Status)


def delivery_of(item: Item, status: int) -> Delivery:
    """What a C-STORE status, or the reason of a STOW-RS response, means."""
    if status == SUCCESS:
        return Delivery(item, State.SENT, status=status)
    if status == DUPLICATE:
        return Delivery(item, State.SENT, status=status, was_there=True)
    if status in WARNINGS or status >> 12 == 0xB:
        reason = WARNINGS.get(status, "store_warning")
        return Delivery(item, State.SENT, reason, status)
    if status >> 8 == OUT_OF_RESOURCES:
        return failed(item, "out_of_resources", status, again=True)
    if status >> 8 == CLASS_MISMATCH:
        return failed(item, "class_mismatch", status)
    if status >> 12 == CANNOT_UNDERSTAND:
        return failed(item, "cannot_understand", status)
    return failed(item, REFUSALS.get(status, "store_refused"), status)
