"""Free text under Clean Descriptors (PS3.15 section E.3.5): known words stay, all others go.

A list of what may stay does not leak; one of what must go does.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from importlib import resources

LONGEST_TEXT = 1024
"""Characters; a longer text is a report, not a description."""
MOST_PASSES = 8
MOST_NUMBERS_IN_A_ROW = 2
"""Three numbers in a row may be a date, a time or a telephone number."""

RUN = re.compile(r"(?i:\bw/(?:w?o\b|(?=\s)))|\d+[.,]\d+[^\W_]*|[^\W_]+")
PIECE = re.compile(r"[A-Z]{1,2}\d{1,2}(?![a-z\d])|\d+|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[A-Z]")
NUMBER = re.compile(r"\d{1,3}(?:[.,]\d{1,3})?", re.ASCII)
WITH_UNIT = re.compile(
    r"\d{1,4}(?:[.,]\d{1,3})?(?:mm|cm|ms|s|sec|min|kv|kvp|ma|mas|kev|gy|t|hz|p|ml|mg|mmol|bq|mbq)",
    re.ASCII,
)
B_VALUE = re.compile(r"b\d{1,4}", re.ASCII)
DEVICE_WORD = re.compile(
    r"(?:b[flrv]?|[cdehijlpqstu]|h[crw]|qr|u[br]|fc|th|t[ei]|sl|fa)\d{1,2}[a-z]{0,2}"
    r"|[2-4]d\d{0,2}|\d{1,3}(?:x\d{1,3}){1,2}",
    re.ASCII,
)
"""Kernels (H30s), factors (p2), dimensions (3D, 2x2x2): too short to be anybody's number."""
EDGES = " _-+/.,*:"
SIGNS = re.compile(r"[ -<>-~]*")
"""What may stand around words of which none was dropped."""
SHAPES = (NUMBER, WITH_UNIT, B_VALUE, DEVICE_WORD)
SIDES = frozenset("lrw")
"""Left, right, with: say so beside known words. Beside a name they are its initials."""


JOINING = frozenset(
    (
        *("and", "for", "from", "in", "of", "on", "or", "per", "the", "to", "via"),
        *("with", "without"),
        *("for", "im", "mit", "ohne", "und", "von"),
        *("avec", "de", "des", "du", "et", "la", "le", "les", "pour", "sans"),
        *("da", "del", "di"),
    )
)
"""Words that mean nothing where the next or the last one has been dropped."""


@functools.cache
def known_words() -> frozenset[str]:
    """The reviewed words, lower case and without accents."""
    text = resources.files(__package__).joinpath("tables/descriptor_words.txt")
    lines = text.read_text("utf-8").splitlines()
    return frozenset(
        plain(word) for line in lines if not line.startswith("#") for word in line.split()
    )


def plain(text: str) -> str:
    """Lower case, without accents: `Schädel` is `schadel`."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


@functools.lru_cache(maxsize=4096)
def cleaned(text: str, own: frozenset[str] = frozenset()) -> str:
    """What of `text` is made of known words, `own` ones of a project among them; may be empty.

    Of a cleaned text all stays: the words that are left may read otherwise side by side.
    """
    if len(text) > LONGEST_TEXT:
        return ""
    for _ in range(MOST_PASSES):
        before = text
        values = [_value(value, own) for value in before.split("\\")]
        text = "\\".join(values) if any(values) else ""
        if text == before:
            return text
    return ""


def _value(text: str, own: frozenset[str]) -> str:
    """Runs of letters and digits that may stay, each with what stood between it and the last, and
    whether it only may if its neighbours do."""
    words = known_words() | own if own else known_words()
    kept: list[tuple[str, str, bool]] = []
    end = 0
    for run in RUN.finditer(text):
        between = text[end : run.start()] if end else ""
        end = run.end()
        contrast = run.group() == "C" and between.endswith("+")
        word = "C" if contrast else _run(run.group(), words)
        between = _separator(between)
        kept.append(
            (between, word, word.lower() in SIDES or (bool(word) and not _has_letter(word)))
        )
    parts = _without_chains(kept)
    whole = bool(kept) and len(parts) == len(kept) and SIGNS.fullmatch(RUN.sub("", text))
    return text.strip() if whole else _joined(parts)


def _has_letter(word: str) -> bool:
    return any(map(str.isalpha, word))


def _separator(text: str) -> str:
    """One sign between words; what is not an ordinary one becomes a space."""
    stripped = text.strip()
    return text[:3] if text and set(text) <= set(EDGES) and len(stripped) <= 2 else " "


def _run(run: str, words: frozenset[str]) -> str:
    """`run` if it is known as a whole, else its known pieces (`AxT2Flair`), else nothing."""
    low = plain(run)
    if low in words or low in SIDES or any(shape.fullmatch(low) for shape in SHAPES):
        return run
    pieces = PIECE.findall(run)
    if len(pieces) > 1 and all(_is_known_piece(piece, words) for piece in pieces):
        return run
    return ""


def _is_known_piece(piece: str, words: frozenset[str]) -> bool:
    return len(piece) <= 2 if piece.isdecimal() else plain(piece) in words


def _without_chains(kept: list[tuple[str, str, bool]]) -> list[tuple[str, str]]:
    """Without numbers that stand in a row of three and more, or beside a word that was dropped."""
    result: list[tuple[str, str]] = []
    at = 0
    while at < len(kept):
        stop = at
        while stop < len(kept) and (kept[stop][2] or not kept[stop][1]):
            stop += 1
        row = kept[at:stop]
        numbers = [one for one in row if one[2]]
        dropped = len(row) - len(numbers)
        if numbers and not dropped and len(numbers) <= MOST_NUMBERS_IN_A_ROW:
            result.extend((between, word) for between, word, _ in row)
        if stop < len(kept):
            result.append(kept[stop][:2])
        at = stop + 1
    return result


def _joined(parts: list[tuple[str, str]]) -> str:
    there = [part for part in parts if part[1]]
    while there and plain(there[-1][1]) in JOINING:
        there.pop()
    while there and plain(there[0][1]) in JOINING:
        there.pop(0)
    return "".join(between + word for between, word in there).strip(EDGES)
