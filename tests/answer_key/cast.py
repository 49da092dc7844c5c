"""Who and what the files are about: made from a seed, never met in a real hospital."""

from __future__ import annotations

import datetime
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

ROOT = "1.2.826.0.1.3680043.10.4711"
"""Below a root that is really assigned to generated UIDs; 4711 is nobody's."""

ONSETS = ("b", "br", "d", "dr", "f", "g", "k", "kl", "l", "m", "n", "p", "r", "s", "t", "v", "z")
VOWELS = ("a", "e", "i", "o", "u")
ENDS = ("bek", "dorf", "gard", "holm", "kvist", "lund", "mank", "quell", "rist", "vik", "zak")
KANJI, KANA = (
    "山川田中村木林森石岡島橋池藤原野井上松本",
    "あいかきくけこさしたなにのはまみやゆらりわ",
)
HANGUL = "김이박최정강조윤장임한오서신권황안송유홍"
CHINESE = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
CYRILLIC = "абвгдежзиклмнопрстуфхцчшэюя"
GREEK = "αβγδεζηθικλμνξοπρστυφχψω"
ARABIC, HEBREW, THAI = (
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "กขคงจชซดตทนบปผพมยรลวสห",
)


@dataclass(frozen=True)
class Person:
    """A patient; `name` is a whole PN value, `texts` what of it must be nowhere in a release."""

    patient_id: str
    name: str
    birth_date: str
    texts: tuple[str, ...]
    character_set: str | Sequence[str] = "ISO_IR 192"
    sex: str = "F"
    age: str = "061Y"
    issuer: str = ""


@dataclass
class Cast:
    """Names, numbers, UIDs and dates of a seed; none comes twice."""

    seed: int
    random: random.Random = field(init=False)
    _used: set[str] = field(default_factory=set)
    _joined: str = ""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def _unused(self, text: str) -> bool:
        """No text may be a part of another: a scan could not tell which of the two it found."""
        low = text.lower()
        parts = {low[at:end] for at in range(len(low)) for end in range(at + 1, len(low) + 1)}
        if low in self._joined or not parts.isdisjoint(self._used):
            return False
        self._used.add(low)
        self._joined += f"\n{low}"
        return True

    def word(self) -> str:
        """A surname of 8 letters and more that is no word of any language."""
        while True:
            syllables = (self.random.choice(ONSETS) + self.random.choice(VOWELS) for _ in range(3))
            text = ("".join(syllables) + self.random.choice(ENDS)).title()
            if self._unused(text):
                return text

    def letters(self, alphabet: str, count: int) -> str:
        while True:
            text = "".join(self.random.choice(alphabet) for _ in range(count))
            if self._unused(text):
                return text

    def digits(self, count: int) -> str:
        """No zero and no nine at an end: no number is a shorter one with zeros around it."""
        while True:
            text = "".join(self.random.choice("123456789") for _ in range(count))
            if self._unused(text):
                return text

    def capitals(self, count: int) -> str:
        """Consonants only, as no word has them."""
        return self.letters("BCDFGHJKLMNPQRSTVWXZ", count)

    def uid(self) -> str:
        return f"{ROOT}.{self.digits(7)}.{self.digits(9)}"

    def date(self, first_year: int, last_year: int) -> str:
        first = datetime.date(first_year, 1, 1).toordinal()
        last = datetime.date(last_year, 12, 28).toordinal()
        while True:
            day = datetime.date.fromordinal(self.random.randint(first, last))
            text = day.strftime("%Y%m%d")
            if self._unused(text):
                return text

    def birth_date(self) -> str:
        """So early that no shifted date of an examination can be one."""
        return self.date(1921, 1979)

    def time(self) -> str:
        hour, minute = self.random.randint(10, 19), self.random.randint(10, 59)
        return f"{hour}{minute}{self.random.randint(10, 59)}"

    def person(self, **changes: object) -> Person:
        surname, given = self.word(), self.word()
        values: dict[str, object] = {
            "patient_id": f"MRN{self.digits(7)}",
            "name": f"{surname}^{given}",
            "birth_date": self.birth_date(),
            "texts": (surname, given),
            "sex": self.random.choice("MF"),
            "age": f"0{self.random.randint(20, 79)}Y",
        }
        return Person(**{**values, **changes})  # type: ignore[arg-type]
