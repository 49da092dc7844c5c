"""C-MOVE of a series, or of the instances of it that are missing (PS3.4 section C.4.2)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from pacstream.associations import Associations, Proposal
from pacstream.messages import PacsNode, SeriesRequested
from pacstream_retrieve.exchange import MESSAGE_ID, Exchange, Limits, Responses, ask_for_all
from pacstream_retrieve.outcome import Outcome

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
MOVING = Proposal([STUDY_ROOT_MOVE])


def move(
    request: SeriesRequested, node: PacsNode, associations: Associations, limits: Limits
) -> list[Outcome]:
    """Have `node` send what is asked for to the request's destination: an outcome per C-MOVE.

    Raises PacsUnreachableError and PacsRejectedError without an association.
    """
    with associations.association(node, MOVING) as association:

        def ask(identifier: Dataset) -> Outcome:
            def send() -> Responses:
                return association.send_c_move(
                    identifier, request.destination, STUDY_ROOT_MOVE, msg_id=MESSAGE_ID
                )

            return Exchange(association, STUDY_ROOT_MOVE, limits).run(send)

        def is_open() -> bool:
            return association.is_established

        lists = node.profile.uid_lists
        return list(ask_for_all(request, ask, is_open, limits, uid_lists=lists))
