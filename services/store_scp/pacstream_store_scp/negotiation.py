"""Negotiation as the acceptor (PS3.8 section 9.3, PS3.7 annex D), with pynetdicom's PDUs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom._globals import APPLICATION_CONTEXT_NAME
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from pacstream import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from pacstream_store_scp.commitment import PUSH_MODEL
from pacstream_store_scp.wire import ViolationError

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
PLAIN_SYNTAXES = ["1.2.840.10008.1.2.1", IMPLICIT_LITTLE, "1.2.840.10008.1.2.2"]
"""Not deflated: the length of what is received would not limit what it becomes."""
ACCEPTED, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 3, 4
"""Results of a context (PS3.8 table 9-18)."""

REMEMBERED, REMEMBERED_BYTES = 16, 1 << 16
"""Requests that are known again, and the longest of them."""

Roles = dict[UID, tuple[bool | None, bool | None]]
"""SCU and SCP role that the requestor proposes, by SOP class (PS3.7 section D.3.3.4)."""

STORAGE_EXTENSION = bytes([2, 0, 3, 0, 0, 0])
"""PS3.4 section B.3.1: storage level 2 (full), digital signatures kept, no element coerced."""


class RejectedAssociation(Exception):  # noqa: N818 - an answer, no error
    """Result, source and reason of the A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

    PROTOCOL_VERSION = (1, 2, 2)
    APPLICATION_CONTEXT = (1, 1, 2)
    CALLING_AET = (1, 1, 3)
    CALLED_AET = (1, 1, 7)
    CONGESTION = (2, 3, 1)
    LOCAL_LIMIT = (2, 3, 2)

    def __init__(self, answer: tuple[int, int, int]) -> None:
        super().__init__("rejected {}/{}/{}".format(*answer))
        self.answer = answer

    def pdu(self) -> bytes:
        primitive = A_ASSOCIATE()
        primitive.result, primitive.result_source, primitive.diagnostic = self.answer
        rejection = A_ASSOCIATE_RJ(primitive)
        return rejection.encode()


@dataclass(frozen=True)
class Policy:
    """Who may associate, and for what. Empty `calling_aets`: everyone."""

    aet: str
    calling_aets: frozenset[str] = frozenset()
    require_called_aet: bool = False
    private_classes: bool = True
    maximum_pdu: int = 131072
    services: tuple[str, ...] = (VERIFICATION, PUSH_MODEL)
    """Abstract syntaxes beside storage."""


@dataclass(frozen=True)
class Accepted:
    """The A-ASSOCIATE-AC, and abstract and transfer syntax of each accepted context."""

    pdu: bytes
    contexts: Mapping[int, tuple[str, str]]
    calling_aet: str
    maximum_pdu: int = field(default=0)
    """Longest P-DATA-TF PDU that the peer takes, in bytes; 0: no limit."""
    called_aet: str = ""


def negotiate(request: bytes, policy: Policy) -> Accepted:
    """Raises RejectedAssociation, and ViolationError if it is no A-ASSOCIATE-RQ.

    A PACS proposes the same in every association, and may open one for each instance: to work it
    out takes longer than to store a small one.
    """
    if len(request) > REMEMBERED_BYTES:
        return _negotiated(request, policy)
    return _remembered(request, policy)


def _negotiated(request: bytes, policy: Policy) -> Accepted:
    asked = _decoded(request)
    if asked.application_context_name != APPLICATION_CONTEXT_NAME:
        raise RejectedAssociation(RejectedAssociation.APPLICATION_CONTEXT)
    if policy.calling_aets and asked.calling_ae_title.strip() not in policy.calling_aets:
        raise RejectedAssociation(RejectedAssociation.CALLING_AET)
    if policy.require_called_aet and asked.called_ae_title.strip() != policy.aet:
        raise RejectedAssociation(RejectedAssociation.CALLED_AET)
    items = list(asked.user_information or [])
    roles = {
        item.sop_class_uid: (item.scu_role, item.scp_role)
        for item in items
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
    }
    contexts, role_answers = _contexts(asked.presentation_context_definition_list, roles, policy)
    accepted = {
        cast(int, context.context_id): (
            str(context.abstract_syntax), str(context.transfer_syntax[0])
        )
        for context in contexts if context.result == 0
    }  # fmt: skip
    stored = {abstract for abstract, _ in accepted.values()} - set(policy.services)
    extended = list(_extended(items, stored))
    limits = [i.maximum_length_received for i in items if isinstance(i, MaximumLengthNotification)]
    answer = _answer(asked, contexts, [*role_answers, *extended], policy)
    calling, called = asked.calling_ae_title.strip(), asked.called_ae_title.strip()
    return Accepted(answer, accepted, calling, limits[0] if limits else 0, called)


_remembered = lru_cache(maxsize=REMEMBERED)(_negotiated)


def _decoded(request: bytes) -> Any:
    pdu = A_ASSOCIATE_RQ()
    try:
        pdu.decode(request)
        version = int(pdu.protocol_version)
        asked = pdu.to_primitive()
        asked.called_ae_title, asked.calling_ae_title  # noqa: B018 - they are checked when read
    except Exception as error:  # pynetdicom raises many kinds for bytes that are no request
        raise ViolationError(ViolationError.INVALID_PARAMETER) from error
    if not version & 1:
        raise RejectedAssociation(RejectedAssociation.PROTOCOL_VERSION)
    return asked


def is_storage(abstract_syntax: str) -> bool:
    """Storage SOP classes of the standard, retired ones too, and all that it does not know."""
    uid = UID(abstract_syntax)
    if not uid.type:
        return True
    is_other = "Commitment" in uid.name or uid == MEDIA_STORAGE_DIRECTORY
    return uid.type == "SOP Class" and "Storage" in uid.name and not is_other


def _contexts(
    proposed: Iterable[PresentationContext], roles: Roles, policy: Policy
) -> tuple[list[PresentationContext], list[SCP_SCU_RoleSelectionNegotiation]]:
    """Every context with its result, and the answers to the proposed roles."""
    results: list[PresentationContext] = []
    others: list[PresentationContext] = []
    for context in proposed:
        abstract_syntax = str(context.abstract_syntax or "")
        if not context.transfer_syntax or not abstract_syntax:
            results.append(_with(context, TRANSFER_SYNTAXES_NOT_SUPPORTED))
        elif not is_storage(abstract_syntax):
            others.append(context)
        elif UID(abstract_syntax).type or policy.private_classes:
            results.append(_with(context, ACCEPTED))
        else:
            results.append(_with(context, ABSTRACT_SYNTAX_NOT_SUPPORTED))
    stored = {str(context.abstract_syntax) for context in results if context.result == ACCEPTED}
    supported = [_supported(service) for service in policy.services]
    negotiated, other_roles = negotiate_as_acceptor(others, supported, roles)
    answers = [*_storage_roles(stored, roles), *other_roles]
    return sorted(results + negotiated, key=lambda c: cast(int, c.context_id)), answers


def _supported(service: str) -> PresentationContext:
    """What is taken beside storage. A sender that asks for roles may be the SCU."""
    context = build_context(service, PLAIN_SYNTAXES if service == PUSH_MODEL else None)
    if service == PUSH_MODEL:
        context.scu_role, context.scp_role = True, False
    return context


def _with(proposed: PresentationContext, result: int) -> PresentationContext:
    """The answer to one context. Of its transfer syntaxes the sender's first is accepted."""
    answer = PresentationContext()
    answer.context_id = proposed.context_id
    # a context without one is refused, but it is answered
    answer.abstract_syntax = proposed.abstract_syntax or UID(VERIFICATION)
    answer.transfer_syntax = proposed.transfer_syntax[:1] or [UID(IMPLICIT_LITTLE)]
    answer.result = result
    return answer


def _storage_roles(stored: set[str], roles: Roles) -> Iterable[SCP_SCU_RoleSelectionNegotiation]:
    """A sender may be SCU as it asks; SCP it may be for its own sake: we never send."""
    for sop_class, (scu, scp) in roles.items():
        if str(sop_class) in stored and (scu or scp):
            answer = SCP_SCU_RoleSelectionNegotiation()
            answer.sop_class_uid = sop_class
            answer.scu_role, answer.scp_role = bool(scu), bool(scp)
            yield answer


def _extended(items: Iterable[Any], stored: set[str]) -> Iterable[SOPClassExtendedNegotiation]:
    """The answer to senders that negotiate the level of storage (PS3.7 section D.3.3.5)."""
    for item in items:
        asked = isinstance(item, SOPClassExtendedNegotiation)
        if asked and str(item.sop_class_uid) in stored:
            answer = SOPClassExtendedNegotiation()
            answer.sop_class_uid = item.sop_class_uid
            answer.service_class_application_information = STORAGE_EXTENSION
            yield answer


def _answer(
    asked: Any, contexts: list[PresentationContext], items: Iterable[Any], policy: Policy
) -> bytes:
    length = MaximumLengthNotification()
    length.maximum_length_received = policy.maximum_pdu
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID(IMPLEMENTATION_UID)
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(APPLICATION_CONTEXT_NAME)
    primitive.calling_ae_title = asked.calling_ae_title
    primitive.called_ae_title = asked.called_ae_title
    primitive.result, primitive.result_source = 0x00, 0x01
    primitive.presentation_context_definition_results_list = contexts
    primitive.user_information = [length, implementation, version, *items]
    answer = A_ASSOCIATE_AC()
    answer.from_primitive(primitive)
    return answer.encode()
