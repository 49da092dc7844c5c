"""Text of reports as it was meant: without HTML, and without letters that were decoded wrongly."""

from __future__ import annotations

import re
from html.parser import HTMLParser

INLINE = r"a|b|big|em|font|i|img|s|small|span|strike|strong|sub|sup|tt|u"
BLOCK = r"body|center|d[dlt]|div|h[1-6]|hr|html|ol|p|pre|table|tbody|tfoot|thead|tr|ul"
OTHER = r"br|head|li|meta|style|script|t[dh]|title"
HTML = re.compile(rf"<!doctype html|</?(?:{INLINE}|{BLOCK}|{OTHER})(?:\s[^<>]*)?/?>", re.IGNORECASE)
"""What makes a text HTML. `<5 mm` and `a < b` do not."""
UNSEEN = frozenset({"head", "style", "script", "title"})

MEANT = re.compile(r"[\x00-\x7f\u00a0-\u017f\u2010-\u2026\u20ac\u2122]*")
"""What a text in a language of western Europe is made of."""


def plain(text: str) -> str:
    """The text of HTML, one line for each block; any other text as it is."""
    if not HTML.search(text):
        return text
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.text()


def repaired(text: str) -> str:
    """The text whose UTF-8 was taken for Latin-1 or Windows-1252, if that is certain: *all* of it
    can be turned back, and gives nothing but letters of western Europe. Else the text as it is."""
    if text.isascii():
        return text
    try:
        meant = b"".join(map(_byte, text)).decode("utf-8")
    except UnicodeError:
        return text
    return meant if MEANT.fullmatch(meant) else text


def _byte(letter: str) -> bytes:
    """Raises UnicodeError for a letter of neither."""
    return letter.encode("latin-1" if ord(letter) < 256 else "cp1252")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._unseen = 0
        self._verbatim = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in UNSEEN:
            self._unseen += 1
        if tag == "br" or re.fullmatch(BLOCK, tag):
            self._parts.append("\n")
        if tag == "li":
            self._parts.append("\n- ")
        if tag in ("td", "th"):
            self._parts.append("\t")
        if tag == "pre":
            self._verbatim += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        if re.fullmatch(BLOCK, tag):
            self._parts.append("\n")
        if tag == "pre":
            self._verbatim = max(0, self._verbatim - 1)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._parts.append(data if self._verbatim else re.sub(r"[ \t\r\n]+", " ", data))

    def text(self) -> str:
        """Without blanks around lines, and never more than one empty line."""
        lines = [line.replace("\u00a0", " ").strip() for line in "".join(self._parts).split("\n")]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
