"""The search for identifiers in the values that are to be released.

A value is searched as text: whole words and IDs, without case and accents; and, where it is no
plain ASCII, as bytes in the encodings of `ENCODINGS`. Of an attribute that holds terms, terms are
no echo.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Set

from pacstream_anonymizer.gate import vocabulary
from pacstream_anonymizer.gate.identifiers import Traces, folded, transcribed
from pacstream_anonymizer.gate.reader import Leaf

ENCODINGS = (
    "latin-1",
    "iso8859-2",
    "iso8859-5",
    "iso8859-7",
    "utf-8",
    "utf-16-le",
    "utf-16-be",
    "iso2022_jp",
    "euc_kr",
    "shift_jis",
    "gb18030",
)
"""Of ISO 2022 the bytes between the escape sequences are looked for; Korean ones are EUC-KR's."""

SHORTEST_WORD = 4
SHORTEST_GLUED = 7
"""Letters of a name that is found within a longer word, as people write it before a suffix."""
SHORTEST_GLUED_NUMBER = 5
"""Characters of an ID that is found beside letters."""
SHORTEST_NUMBER = 7
"""Digits of an ID that is found where numbers stand; a shorter one is there by chance."""
SHORTEST_BYTES = 4
LONGEST_BINARY = 1 << 16

LONG_NUMBER = re.compile(r"0*([1-9]\d{4,})", re.ASCII)
"""Within an ID: tells whose it is without the letters and zeros around it."""

PLAIN = re.compile(rb"[\t\n\f\r -~]*\0?")
"""Text that is what it looks like: ASCII without escape sequences, not UTF-16 by chance."""
WORD = re.compile(r"[^\W\d_]+")
ESCAPE = re.compile(rb"\x1b[$(),\-][@-~()*+,\-]*[@-~]")
RUN_TOGETHER = re.compile(r"[\u0e00-\u0eff\u2e80-\uffef\U00020000-\U0003ffff]")
"""Scripts that put no space between words."""

NUMBERS = frozenset({"DS", "IS"})
DATES = frozenset({"DA", "DT", "TM"})
SILENT = DATES | {"AS", "UI"}
"""What is well formed in these VRs holds no word."""
BINARY = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})
STACK_ID = 0x00209056
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def _tokens(ids: Set[str], born: Set[str], whole: Set[str]) -> frozenset[str]:
    """IDs, birth dates in all forms, and texts that identify as a whole, folded."""
    return frozenset(
        {folded(one) for one in ids if len(one) >= SHORTEST_WORD}
        | {form for date in born for form in dates(date)}
        | {folded(one) for one in whole if _names_something(one)}
    )


class Search:
    """What must not be found in one patient's release. `institution`: its name may stand there."""

    def __init__(self, traces: Traces, *, institution: bool = False) -> None:
        self.sought = (*traces.told, institution)
        names = {part for name in traces.names for part in name}
        spelt = {word for part in names for word in _words_of(part)}
        self.words = frozenset(
            form
            for word in spelt
            for form in (folded(word), transcribed(word))
            if len(form) >= SHORTEST_WORD and form not in vocabulary.NOBODY
        )
        self.short_words = frozenset(
            word.casefold() for word in spelt if len(word) < SHORTEST_WORD and not word.isascii()
        )
        self.runs = tuple(word for word in spelt if RUN_TOGETHER.search(word))
        ids = {
            form
            for one in traces.ids | traces.long_ids
            if folded(one) not in vocabulary.NOBODY
            for form in _id_forms(one)
        }
        self.short = frozenset(folded(one) for one in traces.ids if len(one) < SHORTEST_WORD)
        whole = traces.whole if institution else traces.whole | traces.institution
        self.tokens = _tokens(ids, traces.born, whole)
        self.born = traces.born
        self.numbers = frozenset(one for one in self.tokens if len(one) >= SHORTEST_NUMBER)
        self._phrases = _pattern(
            [_bounded(one) for one in self.tokens]
            + [_whole_words(phrase) for name in traces.names for phrase in _phrases(name)]
        )
        uncommon = self.words - vocabulary.COMMON
        long = [re.escape(word) for word in uncommon if len(word) >= SHORTEST_GLUED]
        self._glued = re.compile("|".join(long)) if long else None
        self._raw = frozenset(
            {word for word in spelt if folded(word) not in vocabulary.NOBODY}
            | {one for one in ids if len(one) >= SHORTEST_NUMBER or not one.isdecimal()}
            | traces.born
            | traces.whole
        )

    @functools.cached_property
    def _bytes(self) -> re.Pattern[bytes] | None:
        """Made when there is a value that is no plain text: it takes longer than all the rest."""
        return _byte_pattern(self._raw)

    def finds(self, leaf: Leaf) -> bool:
        """Whether there is an echo in a value."""
        value = leaf.value
        if not value or leaf.vr in BULK | BINARY:
            return self._in_binary(value)
        if leaf.vr in SILENT:
            return leaf.vr in DATES and self._is_birth_date(leaf)
        text = value.decode("utf-8", "replace").strip(" \0")
        if leaf.vr in NUMBERS:
            return any(part.strip().casefold() in self.numbers for part in text.split("\\"))
        if self._in_text(leaf, text) and not vocabulary.is_public(leaf.tag, text):
            return True
        return not PLAIN.fullmatch(value) and self._in_bytes(value)

    def without_names(self, text: str, word: str) -> str:
        """`text` with `word` in the place of each word of a name. IDs and phrases stay."""
        return WORD.sub(lambda found: word if folded(found[0]) in self.words else found[0], text)

    def _is_birth_date(self, leaf: Leaf) -> bool:
        """A day of an examination may be the birthday of a newborn, or meet it by the shift."""
        digits = leaf.value.decode("latin-1").replace(".", "").strip(" \0")[:8]
        return leaf.tag >> 16 == 0x0010 and digits in self.born

    def _in_text(self, leaf: Leaf, text: str) -> bool:
        plain = folded(text)
        met = WORD.findall(plain)
        words = self.words.intersection(met)
        if words and words - vocabulary.terms(leaf.tag, leaf.vr):
            return True
        if self._glued is not None and any(map(self._is_glued, met)):
            return True
        if not text.isascii() and self._in_script(text):
            return True
        if self._phrases is not None and self._phrases.search(plain):
            return True
        whole = leaf.vr != "CS" and leaf.tag != STACK_ID
        return bool(
            whole and self.short and not self.short.isdisjoint(map(str.strip, plain.split("\\")))
        )

    def _is_glued(self, word: str) -> bool:
        """Whether a long name is part of a longer word that means something else by chance only."""
        return (
            self._glued is not None
            and len(word) > SHORTEST_GLUED
            and word not in vocabulary.COMMON
            and self._glued.search(word) is not None
        )

    def _in_script(self, text: str) -> bool:
        normal = unicodedata.normalize("NFC", text)
        if any(run in normal for run in self.runs):
            return True
        return not self.short_words.isdisjoint(WORD.findall(normal.casefold()))

    def _in_binary(self, value: bytes) -> bool:
        return SHORTEST_BYTES <= len(value) <= LONGEST_BINARY and self._in_bytes(value)

    def _in_bytes(self, value: bytes) -> bool:
        return self._bytes is not None and self._bytes.search(value.lower()) is not None


def _words_of(part: str) -> Iterator[str]:
    """Words of a name that mean somebody: 4 letters and more, not ASCII any."""
    for word in WORD.findall(unicodedata.normalize("NFC", part)):
        if len(word) >= SHORTEST_WORD or not word.isascii():
            yield word


def _phrases(name: tuple[str, ...]) -> Iterator[str]:
    """A name whose parts are too short to be looked for alone, in both orders."""
    parts = [folded(part) for part in name[:2]]
    if len(parts) == 2 and max(map(len, parts)) < SHORTEST_WORD <= sum(map(len, parts)):
        for first, second in (parts, parts[::-1]):
            yield rf"{re.escape(first)}[\W_]{{1,3}}{re.escape(second)}"


def _names_something(text: str) -> bool:
    """Whether an address or institution is more than words like `Siemens Hospital`."""
    plain = folded(text)
    words = {word for word in WORD.findall(plain) if len(word) >= SHORTEST_WORD}
    return any(c.isdigit() for c in plain) or not words <= vocabulary.COMMON


def _id_forms(text: str) -> set[str]:
    """An ID with and without spaces and leading zeros, and the long numbers in it: of `MRN-0042117`
    people write the number alone."""
    bare = re.sub(r"\s", "", text)
    return {text, bare, bare.lstrip("0"), *LONG_NUMBER.findall(bare)}


def dates(digits: str) -> set[str]:
    """YYYYMMDD as people write it, folded."""
    y, m, d = digits[:4], digits[4:6], digits[6:]
    found = {y + m + d, d + m + y, m + d + y}
    for dot in "-./ ":
        found |= {dot.join(parts) for parts in ((y, m, d), (d, m, y), (m, d, y))}
        found |= {dot.join(parts) for parts in ((d.lstrip("0"), m.lstrip("0"), y),)}
        found |= {dot.join(parts) for parts in ((m.lstrip("0"), d.lstrip("0"), y),)}
    if m.isdecimal() and 1 <= int(m) <= 12:
        month = MONTHS[int(m) - 1]
        found |= {dot.join((day, month, y)) for dot in "- ." for day in (d, d.lstrip("0"))}
        found |= {f"{month} {d}, {y}", f"{month} {d.lstrip('0')}, {y}"}
    return found


def _pattern(parts: Iterable[str]) -> re.Pattern[str] | None:
    alternatives = "|".join(sorted(parts, key=len, reverse=True))
    return re.compile(alternatives) if alternatives else None


def _bounded(token: str) -> str:
    """An ID or date, with any zeros before it. Of a long number letters are no part."""
    if len(token) < SHORTEST_GLUED_NUMBER or not (token[0] + token[-1]).isdecimal():
        return _whole_words(rf"0*{re.escape(token)}")
    return rf"(?<!\d)0*{re.escape(token)}(?!\d)"


def _whole_words(pattern: str) -> str:
    return rf"(?<![^\W_]){pattern}(?![^\W_])"


def _byte_pattern(texts: Iterable[str]) -> re.Pattern[bytes] | None:
    """Each of `texts` in each of ENCODINGS, lowered as `bytes.lower` lowers."""
    narrow: set[bytes] = set()
    other: set[bytes] = set()
    for text in texts:
        for form in {text, text.lower(), text.upper(), text.title(), folded(text)}:
            for encoded in _encoded(form):
                ascii_letters = encoded.isascii() and b"\0" not in encoded and form.isascii()
                (narrow if ascii_letters else other).add(encoded)
    parts = []
    if narrow:
        parts.append(rb"(?<![0-9a-z])(?:" + _any_of(narrow) + rb")(?![0-9a-z])")
    if other:
        parts.append(_any_of(other))
    return re.compile(b"|".join(parts)) if parts else None


def _encoded(text: str) -> Iterator[bytes]:
    for encoding in ENCODINGS:
        try:
            encoded = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        for part in ESCAPE.split(encoded):
            if len(part) >= SHORTEST_BYTES:
                yield part.lower()


def _any_of(texts: set[bytes]) -> bytes:
    return b"|".join(re.escape(text) for text in sorted(texts, key=lambda t: (-len(t), t)))
