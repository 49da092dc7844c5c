"""A user's heudiconv heuristic or dcm2bids configuration, instead of rules.

The tool runs in a working folder of the trusted zone, one session at a time. Of what it writes,
images with their sidecars and gradient tables go on, through the same cleaner as our own; nothing
else does. Its log, which names patients, stays and goes with the folder.
"""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import dcm2niix

from pacstream.errors import InputError, RejectedError, RetryLaterError
from pacstream_converter.bids.book import STEM
from pacstream_converter.bids.rules import Json
from pacstream_converter.cleaner import CleanImage, clean_image, refuse_echoes
from pacstream_converter.identifiers import Identifiers

Name = Literal["heudiconv", "dcm2bids"]
NAMES: tuple[Name, ...] = ("heudiconv", "dcm2bids")

LINKS = re.compile(r"[0-9A-Za-z_]{1,64}")


@dataclass(frozen=True)
class Tool:
    """`file` is the heuristic or configuration; `timeout_s` ends the conversion of a session."""

    name: Name
    file: Path
    timeout_s: float = 3600.0

    @property
    def program(self) -> str | None:
        """Beside our own Python, else on the PATH."""
        beside = Path(sys.executable).with_name(self.name)
        return str(beside) if beside.exists() else shutil.which(self.name)

    def command(self, originals: Path, subject: str, session: str, out: Path) -> list[str]:
        program = self.program or self.name
        file = str(self.file)
        if self.name == "dcm2bids":
            named = ["-p", subject, "-s", session, "-c", file, "-o", str(out)]
            return [program, "-d", str(originals), *named, "--force_dcm2bids", "--clobber"]
        named = ["-s", subject, "-ss", session, "-f", file, "-o", str(out), "-g", "all"]
        options = ["-c", "dcm2niix", "-b", "notop", "--minmeta", "--overwrite"]
        return [program, "--files", str(originals), *named, *options]


@dataclass(frozen=True)
class Session:
    """All of one session: labels, original instances, and what may not be told."""

    subject: str
    session: str
    originals: Sequence[Path] = field(repr=False)
    identifiers: Identifiers = field(repr=False)


@dataclass(frozen=True)
class Made:
    """An image of a session: its path in a data set without extension, and its cleaned content."""

    target: str
    image: CleanImage


def parse_tool(text: str, timeout_s: float = 3600.0) -> Tool:
    """`heudiconv:FILE` or `dcm2bids:FILE`, looked at before anything starts.

    Raises InputError for another name, a tool that is not installed, and a file that can't be used.
    """
    name, colon, file = text.partition(":")
    known = next((one for one in NAMES if one == name), None)
    if known is None or not colon or not file:
        raise InputError(f"--bids {text}: nothing behind it, heudiconv:FILE or dcm2bids:FILE")
    tool = Tool(known, Path(file).resolve(), timeout_s)
    if tool.program is None:
        raise InputError(f"--bids: {name} is not installed; pip install 'pacstream[{name}]'")
    try:
        content = tool.file.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file}: is not UTF-8") from None
    if known == "dcm2bids":
        _check_configuration(content, file)
    else:
        _check_heuristic(content, file)
    return tool


def _check_configuration(content: str, file: str) -> None:
    try:
        told = json.loads(content)
    except ValueError as error:
        raise InputError(f"{file}: is not JSON: {error}") from None
    descriptions = told.get("descriptions") if isinstance(told, dict) else None
    if not isinstance(descriptions, list) or not descriptions:
        raise InputError(f"{file}: has no list `descriptions`, as dcm2bids wants it")


def _check_heuristic(content: str, file: str) -> None:
    try:
        module = ast.parse(content)
    except (SyntaxError, ValueError) as error:
        place = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
        said = error.msg if isinstance(error, SyntaxError) else "no Python"
        raise InputError(f"{file}: {place}{said}") from None
    functions = {one.name for one in module.body if isinstance(one, ast.FunctionDef)}
    if "infotodict" not in functions:
        raise InputError(f"{file}: defines no function infotodict(seqinfo), as heudiconv wants it")


def run_tool(tool: Tool, session: Session, work: Path) -> list[Made]:
    """The clean images of a session, in the order of their names. `work` is an empty folder.

    Raises RejectedError `bids_tool_failed` or `bids_tool_timeout`, `bad_name` for a path that is
    none of BIDS, `nifti_echo` for an identifier in a name or an image; RetryLaterError `disk`.
    """
    originals, out, plain = work / "in", work / "out", work / "plain"
    for folder in (originals, out, plain):
        folder.mkdir(parents=True)
    for number, path in enumerate(session.originals):
        (originals / f"{number:06}.dcm").symlink_to(path.resolve())
    _run(tool.command(originals, session.subject, session.session, out), work, tool.timeout_s)
    images = sorted(out.glob("sub-*/**/*.nii.gz"))
    return [
        _made(image, out, plain / f"{number:06}.nii", session)
        for number, image in enumerate(images)
    ]


def _run(command: Sequence[str], work: Path, timeout_s: float) -> None:
    converter = str(Path(str(dcm2niix.bin)).parent)
    environment = {
        "HOME": str(work),
        "PATH": os.pathsep.join((converter, "/usr/bin", "/bin")),
        "LC_ALL": "C.UTF-8",
        "NO_ET": "1",  # heudiconv would tell its makers that it runs
    }
    with (work / "log.txt").open("wb") as log:
        try:
            done = subprocess.run(
                command,
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RejectedError("the tool took too long", code="bids_tool_timeout") from None
        except OSError:
            raise RejectedError("the tool can't be started", code="bids_tool_failed") from None
    if done.returncode:
        raise RejectedError("the tool failed on a session", code="bids_tool_failed")


def _made(image: Path, out: Path, plain: Path, session: Session) -> Made:
    target = str(image.relative_to(out)).removesuffix(".nii.gz")
    place = STEM.fullmatch(target)
    wanted = (f"sub-{session.subject}", f"ses-{session.session}")
    if place is None or place.groups() != wanted:
        raise RejectedError("a path is none of BIDS, or of another session", code="bad_name")
    try:
        with gzip.open(image) as source, plain.open("wb") as sink:
            shutil.copyfileobj(source, sink)
        for end in (".json", ".bval", ".bvec"):
            beside = Path(str(image).removesuffix(".nii.gz") + end)
            if beside.is_file():
                shutil.copyfile(beside, plain.with_suffix(end))
        told = _told(plain.with_suffix(".json"))
    except EOFError:
        raise RejectedError("an image is cut off", code="bad_nifti") from None
    except OSError:
        raise RetryLaterError("a working folder can't be used", code="disk") from None
    return Made(target, _clean(plain, target, told, session))


def _told(path: Path) -> dict[str, Json]:
    try:
        told = json.loads(path.read_text("utf-8", "replace"))
    except (FileNotFoundError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _clean(plain: Path, target: str, told: dict[str, Json], session: Session) -> CleanImage:
    """The cleaner knows what dcm2niix writes; of what the tool has added, links stay. Like the
    path, they may be words that are a whole description (`rest`), but never an identifier."""
    clean = clean_image(plain, session.identifiers)
    links = _links(told, target)
    persons = replace(session.identifiers, texts=frozenset())
    refuse_echoes(b"", {**links, "": [target, *re.split(r"[-_/]", target)]}, persons)
    sidecar = json.loads(clean.companions.get(".json", b"{}")) | links
    text = json.dumps(sidecar, indent=1, ensure_ascii=False)
    return replace(clean, companions={**clean.companions, ".json": f"{text}\n".encode()})


def _links(told: dict[str, Json], target: str) -> dict[str, Json]:
    """Task and field maps, if they are words of file names."""
    kept: dict[str, Json] = {}
    task = re.search(r"_task-([0-9A-Za-z]+)_", target)
    if task:
        kept["TaskName"] = task[1]
    for key in ("B0FieldIdentifier", "B0FieldSource"):
        value = told.get(key)
        if isinstance(value, str) and LINKS.fullmatch(value):
            kept[key] = value
    intended = told.get("IntendedFor")
    paths: list[Json] = [*intended] if isinstance(intended, list) else [intended]
    if paths and all(_is_path(one) for one in paths):
        kept["IntendedFor"] = paths
    return kept


def _is_path(value: Json) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"(bids::)?[0-9A-Za-z_/.-]{1,255}", value))
