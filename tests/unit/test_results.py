from __future__ import annotations

import errno

import pytest

from pacstream.errors import PacstreamError, RejectedError, RetryLaterError
from pacstream.results import output_errors


@pytest.mark.parametrize(
    ("number", "error", "code"),
    [
        (errno.ENOSPC, RetryLaterError, "disk"),
        (errno.EDQUOT, RetryLaterError, "disk"),
        (errno.EIO, RetryLaterError, "disk"),
        (errno.ESTALE, RetryLaterError, "disk"),
        (errno.EACCES, RejectedError, "output_not_writable"),
        (errno.EROFS, RejectedError, "output_not_writable"),
        (errno.ENAMETOOLONG, RejectedError, "output_not_writable"),
    ],
)
def test_only_errors_that_time_may_cure_are_tried_again(
    number: int, error: type[PacstreamError], code: str
) -> None:
    with pytest.raises(error) as refusal, output_errors():
        raise OSError(number, "about", "/out/sub-Jane_Doe")
    assert refusal.value.code == code


def test_the_path_in_an_error_is_not_repeated() -> None:
    with pytest.raises(RetryLaterError) as refusal, output_errors():
        raise OSError(errno.ENOSPC, "No space left", "/out/sub-Jane_Doe")
    assert "Jane" not in str(refusal.value)
    assert refusal.value.__suppress_context__
