"""pacstream in a cluster, used as an operator would: kubectl, and the command line outside."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import requests
import yaml

from demo.data import Manifest
from demo.pacs import free_port
from tests.e2e.line import run_cli
from tests.k8s.rig import ROOT, TAG, Rig, run

SPACE, PACS_SPACE = "pacstream", "pacs"
PACS = "ORTHANC@orthanc.pacs:4242"
CONFIG = {
    "server_address": "orthanc.pacs", "port": 4242, "server_AET": "ORTHANC", "AET": "PACSTREAM",
    "move_AET": "PACSTREAM", "move_port": 31112, "batch_size": 30, "batch_wait_time": 0,
}  # fmt: skip


def until(condition: Callable[[], object], what: str, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.3)


class Cluster:
    """`home`: a folder for what the trial writes on this machine."""

    def __init__(self, rig: Rig, home: Path) -> None:
        self._rig = rig
        self.home = home
        self._forward: subprocess.Popen[bytes] | None = None
        self.status_url = f"http://127.0.0.1:{free_port()}"

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return run(self._rig.kubectl_command("-n", SPACE, *arguments), given=given)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    # What runs

    def begin_anew(self) -> None:
        """Nothing of an earlier trial is left; nobody waits for its drains."""
        for space in (SPACE, PACS_SPACE):
            workloads = "deploy,statefulset,job,scaledobject"
            self.kubectl("-n", space, "delete", workloads, "--all", "--wait=false")
            self.kubectl("-n", space, "delete", "pods", "--all", "--force", "--grace-period=0")
            self.kubectl("delete", "namespace", space, "--ignore-not-found", "--timeout", "600s")

    def apply_secrets(self, keys: dict[str, str]) -> None:
        self.kubectl("create", "namespace", SPACE)
        self.kubectl("apply", "-f", "-", given=run([str(ROOT / "deploy/k8s/make-secrets")]))
        literals = [f"--from-literal={name}={value}" for name, value in keys.items()]
        self.kubectl("create", "secret", "generic", "project-keys", *literals)

    def apply(self, overlay: Path) -> None:
        self._rig.run("kube.sh", "apply", "-k", str(overlay))

    def start_pacs(self, manifest: Manifest) -> None:
        self._rig.run("kube.sh", "apply", "-f", str(ROOT / "tests/k8s/orthanc.yaml"))
        self.kubectl("-n", PACS_SPACE, "rollout", "status", "deploy/orthanc", "--timeout", "120s")
        with self.forwarded(PACS_SPACE, "service/orthanc", 8042) as url, requests.Session() as http:
            http.trust_env = False
            for path in manifest.paths:
                http.post(f"{url}/instances", path.read_bytes(), timeout=60).raise_for_status()

    def wait_ready(self) -> None:
        self.kubectl("rollout", "status", "statefulset/rabbitmq", "--timeout", "240s")
        for name in self.deployments():
            self.kubectl("rollout", "status", f"deploy/{name}", "--timeout", "240s")

    def deployments(self) -> list[str]:
        return [one["metadata"]["name"] for one in self.get("deployments")["items"]]

    def set_version(self, services: Sequence[str], tag: str) -> None:
        """Begin a roll-out to the images of that tag."""
        for name in services:
            self.kubectl("set", "image", f"deploy/{name}", f"service=pacstream/{name}:{tag}")

    def versions(self) -> set[str]:
        """Tags of the images of all services that are running and ready."""
        pods = [pod for name in self.deployments() for pod in self.pods(name)]
        ready = [one for pod in pods for one in pod["status"].get("containerStatuses", ())]
        return {one["image"].rpartition(":")[2] for one in ready if one["ready"]}

    def pods(self, service: str) -> list[dict[str, Any]]:
        """Those that are not on their way out."""
        found = self.get("pods", "-l", f"app.kubernetes.io/name={service}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def replicas(self, service: str) -> int:
        return int(self.get("deployment", service)["spec"].get("replicas", 1))

    def drain_s(self, service: str) -> float:
        """Delete a pod, and give the seconds that its process took to end."""
        name = self.pods(service)[0]["metadata"]["name"]
        command = self._rig.kubectl_command("-n", SPACE, "logs", "-f", "--tail=1", name)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as log:
            started = time.monotonic()
            self.kubectl("delete", "pod", name, "--wait=false")
            log.wait(120)
            return time.monotonic() - started

    # Batches

    def submit(self, name: str, queries: str, *flags: str) -> str:
        """By the Job of deploy/k8s/submit; the batch's id."""
        folder = self.home / f"submit-{name}"
        folder.mkdir()
        (folder / "queries.csv").write_text(queries, "utf-8")
        (folder / "config.json").write_text(json.dumps(CONFIG))
        arguments = [*flags, "--out_directory", f"/out/{name}"]
        place = "/spec/template/spec/containers/0/args"
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": SPACE,
            "nameSuffix": f"-{name}",
            "resources": [os.path.relpath(ROOT / "deploy/k8s/submit", folder.resolve())],
            "secretGenerator": [
                {"name": "batch", "behavior": "replace", "files": ["queries.csv", "config.json"]}
            ],
            "images": [{"name": "pacstream/cli", "newTag": TAG}],
            "patches": [
                {
                    "target": {"kind": "Job"},
                    "patch": yaml.safe_dump([{"op": "replace", "path": place, "value": arguments}]),
                }
            ],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
        self.apply(folder)
        until(lambda: self.job_log(name).strip(), f"the first line of job submit-{name}")
        return self.job_log(name).split()[0]

    def job_log(self, name: str) -> str:
        with contextlib.suppress(RuntimeError):  # its pod is not there yet
            log = self.kubectl("logs", f"job/submit-{name}")
            lines = [line for line in log.splitlines() if line[:2] == "20"]
            return lines[0] if lines else ""
        return ""

    def job_state(self, name: str) -> str:
        """`Complete`, `Failed`, or empty while it runs."""
        conditions = self.get("job", f"submit-{name}")["status"].get("conditions", [])
        return next((one["type"] for one in conditions if one["status"] == "True"), "")

    def cli(self, *arguments: str) -> str:
        """`pacstream --status-url URL ARGUMENTS` on this machine, through a forwarded port."""
        for _ in range(60):
            self._keep_forwarding()
            done = run_cli(self.home / "here", "--status-url", self.status_url, *arguments)
            if done.returncode != 1:  # 1: the ledger does not answer, because its pod was replaced
                return done.stdout
            time.sleep(1.0)
        raise AssertionError(f"the ledger never answered: {done.stderr}")

    def received(self, batch_id: str) -> int:
        return int(json.loads(self.cli("status", batch_id, "--json"))["instances"]["done"])

    def report(self, batch_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.cli("report", batch_id, "--json"))
        return answer

    def fetch(self, name: str) -> Path:
        """A copy of the results of a batch on this machine."""
        pod = self.pods("exporter")[0]["metadata"]["name"]
        inside = ["exec", pod, "--", "sh", "-c", f"tar -C /out/{name} -cf - . | base64"]
        folder = self.home / f"out-{name}"
        content = io.BytesIO(base64.b64decode(self.kubectl(*inside)))
        with tarfile.open(fileobj=content) as archive:
            archive.extractall(folder, filter="data")
        return folder

    # Ports

    def _keep_forwarding(self) -> None:
        """The port of the ledger's Service; it belongs to one pod and ends with it."""
        if self._forward is not None and self._forward.poll() is None:
            with contextlib.suppress(requests.RequestException):
                requests.get(f"{self.status_url}/live", timeout=2)
                return
        self.close()
        port = self.status_url.rpartition(":")[2]
        command = self._rig.kubectl_command(
            "-n", SPACE, "port-forward", "service/ledger", f"{port}:8080"
        )
        self._forward = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(1.0)

    @contextlib.contextmanager
    def forwarded(self, space: str, target: str, port: int) -> Iterator[str]:
        here = free_port()
        command = self._rig.kubectl_command("-n", space, "port-forward", target, f"{here}:{port}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert "Forwarding" in process.stdout.readline()
                yield f"http://127.0.0.1:{here}"
            finally:
                process.terminate()

    def close(self) -> None:
        if self._forward is not None:
            self._forward.terminate()
            self._forward.wait()
            self._forward = None


def released(out: Path) -> dict[str, str]:
    """Digest of each released instance by its name, which is its mapped UID."""
    files = [path for path in (out / "release").rglob("*.dcm") if path.is_file()]
    assert len({path.name for path in files}) == len(files)
    return {path.name: digest(path) for path in files}


def volumes(out: Path) -> list[tuple[str, str]]:
    """Suffix and digest of every other released file: NIfTI and what goes with it."""
    files = [path for path in (out / "release").rglob("*") if path.is_file()]
    return sorted(("".join(p.suffixes), digest(p)) for p in files if p.suffix != ".dcm")


def originals(out: Path) -> list[str]:
    """Digests of all saved originals."""
    files = [p for subject in out.glob("sub-*") for p in subject.rglob("*/*/*") if p.is_file()]
    return sorted(digest(path) for path in files)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def csv_of(rows: Sequence[dict[str, str]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [",".join(columns), *(",".join(row.get(c, "") for c in columns) for row in rows)]
    return "\n".join(lines) + "\n"
