"""Which products become what: rules that match on header values, and what a product is by them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Number = int | float
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

Values = Mapping[str, tuple[str, ...]]
"""What is known of a product, by DICOM keyword or name of a fact; never an empty tuple."""


FACTS = frozenset(
    {
        *("Description", "Volumes", "Slices", "Gradients", "PhaseEncoding", "Echo", "Part"),
        *("Product", "Products"),
    }
)
"""What rules may ask for besides DICOM keywords:

Description: all that names the kind of a series: its description, and the names of protocol and
sequence. Volumes, Slices: numbers, of the NIfTI file. Gradients: there if it has b values.
PhaseEncoding: from where to where, such as `AP`, if the polarity is known. Echo: its number if the
series has several echoes. Part: mag, phase, real, imag. Product: the suffixes that dcm2niix gave
the file (`e1_ph`). Products: those of all files of the series.
"""


@dataclass(frozen=True)
class Condition:
    """What one header value has to be. Where several are set, all have to hold.

    `pattern` has to be found in a value, in any case of letters, and `absent` in none; a number
    has to be at least `least`, at most `most`, greater than `above` and less than `below`.
    """

    keyword: str
    pattern: re.Pattern[str] | None = None
    absent: re.Pattern[str] | None = None
    present: bool | None = None
    least: Number | None = None
    most: Number | None = None
    above: Number | None = None
    below: Number | None = None

    def holds(self, values: Values) -> bool:
        found = values.get(self.keyword, ())
        return (
            (self.present is None or self.present == bool(found))
            and (self.pattern is None or any(self.pattern.search(one) for one in found))
            and not (self.absent and any(self.absent.search(one) for one in found))
            and self._is_in_range(found)
        )

    def _is_in_range(self, found: Sequence[str]) -> bool:
        limits = (self.least, self.most, self.above, self.below)
        if all(limit is None for limit in limits):
            return True
        number = _number(found[0]) if found else None
        return (
            number is not None
            and (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class Label:
    """Where an entity's value comes from: a word of the rule itself, chosen by the first
    header value that says anything, or a number in the header. No text of a header ever becomes
    part of a name."""

    literal: str = ""
    keywords: tuple[str, ...] = ()
    words: tuple[tuple[str, re.Pattern[str]], ...] = ()

    def value(self, values: Values) -> str:
        """Letters and digits; empty if the header tells nothing."""
        for keyword in self.keywords:
            label = self._of(values.get(keyword, ()))
            if label:
                return label
        return self.literal

    def _of(self, found: Sequence[str]) -> str:
        if not self.words:
            return next((text for one in found if (text := number_label(one))), "")
        for word, pattern in self.words:
            if any(pattern.search(one) for one in found):
                return word
        return ""


def number_label(text: str) -> str:
    """`2`, or `2p5` for 2.5; empty for what is no number that is not negative."""
    number = _number(text)
    if number is None or not 0 <= number < 1_000_000:
        return ""
    return f"{number:.10g}".replace(".", "p").replace("-", "")


@dataclass(frozen=True)
class Rule:
    """A kind of product. `is_bids`: the specification knows it; others lie beside, ignored by it.

    `entities` are short names (`task`, `acq`), `sidecar` is what the header can't tell.
    """

    name: str
    folder: str
    suffix: str
    when: tuple[Condition, ...]
    entities: Mapping[str, Label] = field(default_factory=dict)
    sidecar: Mapping[str, Json] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    is_bids: bool = True

    def matches(self, values: Values) -> bool:
        return all(condition.holds(values) for condition in self.when)


@dataclass(frozen=True)
class Kind:
    """What a product is: its place in the data set, but for subject, session and run."""

    rule: Rule
    entities: tuple[tuple[str, str], ...]
    """In the order of the specification."""


def kind_of(values: Values, rules: Iterable[Rule], order: Sequence[str]) -> Kind | None:
    """By the first rule that matches; None if there is none. `order` is that of entities."""
    rule = next((one for one in rules if one.matches(values)), None)
    if rule is None:
        return None
    labels = {name: label.value(values) for name, label in rule.entities.items()}
    known = sorted((name for name in labels if labels[name]), key=order.index)
    return Kind(rule, tuple((name, labels[name]) for name in known))
