"""Which profile `pacstream anonymize` works by: its name or file, and what options change of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pacstream.errors import InputError
from pacstream.messages import Dates
from pacstream.pseudonyms import PROJECT
from pacstream_anonymizer import shelf
from pacstream_anonymizer.actions import FULL_DATES, MODIFIED_DATES, SAFE_PRIVATE
from pacstream_anonymizer.profile import OPTIONS, Profile
from pacstream_anonymizer.shelf import Shelf

PREFIXES = ("retain_longitudinal_", "retain_", "clean_")
NONE = "none"


def load_profile(name: str, project: str, data: Path) -> Profile:
    """A shipped profile or that of a file; without a name the project's own, else `research`.

    Raises InputError, and RejectedError if the project's can't be read.
    """
    if name:
        return shelf.named(name, f"--profile {name}")
    zone = Shelf(data)
    found = zone.project(project) if PROJECT.fullmatch(project) else None
    return zone.get(project, found.profile if found else "")


def named_options(text: str) -> frozenset[str]:
    """`none`, or names separated by commas: whole, or without what they begin with
    (`full_dates`). Raises InputError."""
    if text.strip().lower() == NONE:
        return frozenset()
    known = {short(option): option for option in OPTIONS} | {option: option for option in OPTIONS}
    names = [name.strip().lower().replace("-", "_") for name in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        shorts = ", ".join(short(option) for option in sorted(OPTIONS))
        raise InputError(f"--options: `none`, or of {shorts}; not {', '.join(unknown)}")
    return frozenset(known[name] for name in names)


def short(option: str) -> str:
    return next(option.removeprefix(p) for p in PREFIXES if option.startswith(p))


def chosen(profile: Profile, options: str, *, without_private: bool, shifted: bool) -> Profile:
    """The profile with the options that the command line gives. `shifted`: dates have to be.

    Raises InputError if options exclude one another.
    """
    on = named_options(options) if options else profile.options
    if without_private:
        on = on - {SAFE_PRIVATE}
    if shifted and FULL_DATES in on:
        raise InputError("--fuzz_acq_dates shifts dates, full_dates keeps them: leave one out")
    if shifted:
        on = on | {MODIFIED_DATES}
    return replace(profile, options=on)


def dates_of(profile: Profile) -> Dates:
    if FULL_DATES in profile.options:
        return Dates.KEPT
    return Dates.SHIFTED if MODIFIED_DATES in profile.options else Dates.REMOVED
