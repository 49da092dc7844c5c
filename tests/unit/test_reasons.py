"""Every code for which something lies in quarantine has its words."""

from __future__ import annotations

from pacstream_anonymizer.refusal import JUDGEABLE, REASONS
from pacstream_cli.reasons import EXPLANATIONS, RECEIVING, why_not


def test_every_reason_has_its_words_and_no_other_has() -> None:
    assert set(EXPLANATIONS) == REASONS | set(RECEIVING)


def test_an_operator_is_told_why_what_nobody_can_judge_is_not_released() -> None:
    assert {reason for reason in REASONS if not why_not(reason, "de-identification")} == JUDGEABLE
    assert all(why_not(reason, "receiving") for reason in RECEIVING)
