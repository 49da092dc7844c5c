"""Every overlay, held strictly against the schemas of a current release, references included."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.k8s.rig import ROOT, Rig, run

pytestmark = pytest.mark.k8s

OVERLAYS = sorted(path for path in (ROOT / "deploy/k8s/overlays").iterdir() if path.is_dir())

DATABASE = """
apiVersion: v1
kind: Secret
metadata: {name: ledger-database, namespace: pacstream}
stringData: {url: "postgresql+psycopg://user:password@host/name"}
"""

BY_THE_OPERATOR = """
apiVersion: v1
kind: Secret
metadata: {name: rabbitmq-default-user, namespace: pacstream}
stringData: {username: user, password: password}
---
apiVersion: v1
kind: Service
metadata: {name: rabbitmq, namespace: pacstream}
spec:
  selector: {app.kubernetes.io/name: rabbitmq}
  ports: [{name: amqp, port: 5672}, {name: management, port: 15672}]
---
apiVersion: v1
kind: Pod
metadata:
  name: rabbitmq-server-0
  namespace: pacstream
  labels: {app.kubernetes.io/name: rabbitmq}
spec:
  containers: [{name: rabbitmq, image: rabbitmq}]
"""
"""What RabbitMQ's Cluster Operator makes of a RabbitmqCluster, as far as the manifests name it."""


def built(rig: Rig, overlay: Path) -> str:
    return run(rig.kubectl_command("kustomize", str(overlay)))


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_overlay_has_no_faults(overlay: Path, rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "overlay.yaml").write_text(built(rig, overlay))
    given = [run([str(ROOT / "deploy/k8s/make-secrets")]), DATABASE]
    given += [BY_THE_OPERATOR] if "operator" in overlay.name else []
    for number, text in enumerate(given):
        (tmp_path / f"given-{number}.yaml").write_text(text)
    assert rig.faults(tmp_path) == ""


def test_the_job_has_no_faults_beside_the_services(rig: Rig, tmp_path: Path) -> None:
    for name in ("overlays/single-node", "submit"):
        text = built(rig, ROOT / "deploy/k8s" / name)
        (tmp_path / f"{Path(name).name}.yaml").write_text(text)
    (tmp_path / "broker.yaml").write_text(run([str(ROOT / "deploy/k8s/make-secrets")]))
    assert rig.faults(tmp_path) == ""


def test_a_fault_would_be_found(rig: Rig, tmp_path: Path) -> None:
    text = built(rig, ROOT / "deploy/k8s/overlays/single-node")
    (tmp_path / "overlay.yaml").write_text(text.replace("claimName: out", "claimName: other"))
    assert "PersistentVolumeClaim other" in rig.faults(tmp_path)
