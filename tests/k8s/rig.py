"""The rig: a container engine and a one-node cluster, by scripts that lie outside this repository.

RIG names their folder; else it is `../shared/rig` beside the repository. Without it nothing here
can run, and `missing` says so.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICES = (
    "query", "retrieve", "store_scp", "anonymizer", "converter", "exporter", "ledger", "cli",
)  # fmt: skip
UPSTREAM = ("rabbitmq:4.0-management", "orthancteam/orthanc:latest")
TAG, PREVIOUS = "trial", "previous"
GOLDEN_BEFORE = "tests/unit/golden/messages-previous.json"


class Rig:
    """Every method raises RuntimeError with the output of a script that failed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, script: str, *arguments: str, given: str | None = None) -> str:
        return run([str(self._folder / script), *arguments], given=given)

    def kubectl_command(self, *arguments: str) -> list[str]:
        return [str(self._folder / "kube.sh"), "kubectl", *arguments]

    def is_up(self) -> bool:
        command = self.kubectl_command("get", "nodes")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return " Ready" in done.stdout

    def build_images(self) -> None:
        """All images of this repository, and those they run beside, in the cluster.

        K8S_IMAGES=loaded says that an earlier trial of the same code has put them there.
        """
        if os.environ.get("K8S_IMAGES") == "loaded":
            return
        self.run("images.sh", "python:3.11", "rabbitmq:4", "orthanc")
        environment = self.run("engine.sh", "env").strip()
        for service in SERVICES:
            build = f"docker build -q --build-arg SERVICE={service} -t {image(service)} ."
            run(["bash", "-c", f"{environment} && {build}"])
        for name in (*map(image, SERVICES), *UPSTREAM):
            self.run("kube.sh", "load", name)

    def build_previous(self, commit: str) -> None:
        """The services' images of an earlier commit of this repository, in the cluster as
        `pacstream/...:previous`."""
        environment = self.run("engine.sh", "env").strip()
        for service in SERVICES:
            if service == "cli":
                continue
            name = image(service, PREVIOUS)
            options = f"-q --build-arg SERVICE={service} --build-arg REVISION={commit}"
            build = f"git archive {commit} | docker build {options} -t {name} -"
            run(["bash", "-o", "pipefail", "-c", f"{environment} && {build}"])
            self.run("kube.sh", "load", name)

    def faults(self, *paths: Path) -> str:
        """What the strict check of manifests says against them."""
        command = [str(self._folder / "kube-validate"), *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr


def image(service: str, tag: str = TAG) -> str:
    return f"pacstream/{service.replace('_', '-')}:{tag}"


def previous_commit() -> str:
    """K8S_PREVIOUS, else the commit at which what tests/unit/test_compatibility.py calls the
    previous version was this one; empty in a copy without history."""
    command = ["git", "log", "-1", "--format=%H", "--", GOLDEN_BEFORE]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return os.environ.get("K8S_PREVIOUS") or done.stdout.strip()


def run(command: Sequence[str], given: str | None = None, timeout_s: float = 900) -> str:
    """Its standard output. Raises RuntimeError with all that it wrote."""
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=timeout_s, cwd=ROOT,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def find() -> Rig | None:
    folder = Path(os.environ.get("RIG", ROOT.parent / "shared/rig"))
    return Rig(folder) if (folder / "kube.sh").exists() else None


def missing() -> str:
    return "no rig: set RIG to the folder of kube.sh, engine.sh and kube-validate"
