"""What a node has, asked with C-FIND at IMAGE level (PS3.4 section C.4.1)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from pacstream.dimse import associate
from pacstream.errors import PacsRejectedError, PacstreamError
from pacstream.messages import PacsNode

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PENDING = frozenset({0xFF00, 0xFF01})
SUCCESS = 0x0000

Series = tuple[str, str]
"""Study and series instance UID."""


class NoListError(Exception):
    """The node does not list; its argument is the reason code."""


def listed(node: PacsNode, wanted: list[Series], timeout_s: float) -> dict[Series, set[str]]:
    """The SOP Instance UIDs that the node lists of each series. Raises NoListError."""
    try:
        association = associate(node, [STUDY_ROOT_FIND], timeout_s)
    except PacsRejectedError as error:
        missing = error.code == "no_presentation_context"
        raise NoListError("find_not_supported" if missing else error.code) from None
    except PacstreamError as error:
        raise NoListError(error.code) from None
    try:
        found = {}
        for series in wanted:
            answers = association.send_c_find(_identifier(series), STUDY_ROOT_FIND)
            # A generator: all of it before the next request.
            found[series] = _uids(list(answers))
        return found
    except RuntimeError:
        raise NoListError("association_aborted") from None
    finally:
        if association.is_established:
            association.release()


def _identifier(series: Series) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID, identifier.SeriesInstanceUID = series
    identifier.SOPInstanceUID = ""
    return identifier


def _uids(answers: list[tuple[Dataset, Dataset | None]]) -> set[str]:
    last = answers[-1][0] if answers else Dataset()
    if last.get("Status") != SUCCESS:
        raise NoListError("find_refused" if "Status" in last else "association_aborted")
    return {
        str(identifier.get("SOPInstanceUID", ""))
        for status, identifier in answers
        if status.Status in PENDING and identifier is not None
    }
