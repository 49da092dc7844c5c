"""C-GET of a series, or of missing instances: they come on our own association (PS3.4 C.4.3)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pynetdicom import evt

from pacstream.associations import Associations, Proposal
from pacstream.messages import PacsNode, SeriesRequested
from pacstream_retrieve.exchange import MESSAGE_ID, Exchange, Limits, Responses, ask_for_all
from pacstream_retrieve.intake import Intake
from pacstream_retrieve.outcome import Outcome, not_sent
from pacstream_retrieve.storage_classes import STUDY_ROOT_GET, WIDE, narrow


def get(
    request: SeriesRequested,
    node: PacsNode,
    associations: Associations,
    intake: Intake,
    limits: Limits,
) -> list[Outcome]:
    """Have `node` send what is asked for on this association: an outcome per C-GET.

    Raises PacsUnreachableError and PacsRejectedError without an association.
    """
    with associations.association(node, proposal_for(request)) as association:
        if not any(context.as_scp for context in association.accepted_contexts):
            return [not_sent("storage_role_refused")]
        association.bind(evt.EVT_C_STORE, intake.on_c_store)

        def ask(identifier: Dataset) -> Outcome:
            def send() -> Responses:
                return association.send_c_get(identifier, STUDY_ROOT_GET, msg_id=MESSAGE_ID)

            return Exchange(association, STUDY_ROOT_GET, limits).run(send)

        def is_open() -> bool:
            return association.is_established

        lists = node.profile.uid_lists
        try:
            return list(ask_for_all(request, ask, is_open, limits, uid_lists=lists))
        finally:
            association.unbind(evt.EVT_C_STORE, intake.on_c_store)


def proposal_for(request: SeriesRequested) -> Proposal:
    """Widely first; what is missing then may not have fitted, so each second round is narrow."""
    return narrow(request.order.series.modality) if request.round % 2 else WIDE
