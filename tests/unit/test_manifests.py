"""deploy/k8s says what the code does: services, settings, ports, queues, connections, drains."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pacstream.settings import KEY_PREFIX, PREFIX, Settings, load_settings
from pacstream.topology import SINGLE_ACTIVE, SUBSCRIPTIONS, work_queues
from pacstream_store_scp.process import ASSOCIATION_GRACE_S, COMMIT_GRACE_S, REPORT_GRACE_S

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy/k8s"

Thing = dict[str, Any]

SERVICES = {*(name for name in SUBSCRIPTIONS), "store_scp"}
RELEASING = {"anonymizer", "converter", "exporter"}
"""The services that write to a batch's OUT."""

EXTERNAL = {"192.0.2.1/32": "pacs", "192.0.2.2/32": "database", "192.0.2.3/32": "destination"}
SPACES = {"keda": "keda", "rabbitmq-system": "operator"}
PODS = {"rabbitmq": "broker"}


@cache
def things() -> tuple[Thing, ...]:
    """Every object of base, components and submit, as it is written."""
    found: list[Thing] = []
    for path in sorted([*K8S.glob("base/*.yaml"), *K8S.rglob("components/*/*.yaml"),
                        *K8S.glob("submit/*.yaml")]):  # fmt: skip
        found += [{**one, "path": path} for one in yaml.safe_load_all(path.read_text()) if one]
    return tuple(found)


def named(kind: str, folder: str = "base") -> dict[str, Thing]:
    return {
        one["metadata"]["name"]: one
        for one in things()
        if one["kind"] == kind and folder in one["path"].parts and one["metadata"]["name"] != "any"
    }


def deployment(service: str) -> Thing:
    return named("Deployment")[service.replace("_", "-")]


def pod_of(thing: Thing) -> Thing:
    spec: Thing = thing["spec"]["template"]["spec"]
    return spec


def container(service: str) -> Thing:
    (one,) = pod_of(deployment(service))["containers"]
    return dict(one)


def common() -> Thing:
    (one,) = yaml.safe_load_all((K8S / "base/common.yaml").read_text())
    return pod_of(one)


def settings_file(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if line)


def environment(service: str) -> dict[str, str]:
    env = settings_file(K8S / "base/settings.env")
    return env | {e["name"]: e["value"] for e in container(service).get("env", []) if "value" in e}


def test_every_service_has_a_deployment_with_its_image_and_a_disruption_budget() -> None:
    names = {name.replace("_", "-") for name in SERVICES}
    assert set(named("Deployment")) == names
    assert set(named("PodDisruptionBudget")) == names
    for name in names:
        assert container(name)["image"] == f"pacstream/{name}"
        labels = {"app.kubernetes.io/name": name}
        assert deployment(name)["spec"]["selector"]["matchLabels"] == labels
        assert deployment(name)["spec"]["template"]["metadata"]["labels"] == labels


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_the_settings_of_each_service_are_valid(service: str) -> None:
    settings = load_settings(environment(service))
    assert settings.http_host == "0.0.0.0"
    ports = {one["name"]: one["containerPort"] for one in common()["containers"][0]["ports"]}
    assert ports == {"http": settings.http_port}


def test_every_variable_in_the_manifests_is_a_setting() -> None:
    words = {
        word
        for path in K8S.rglob("*")
        if path.suffix in (".yaml", ".env")
        for line in path.read_text().splitlines()
        for word in re.findall(r"\bPACSTREAM_[A-Z0-9_]+", line)
    }
    assert words
    others = {
        word for word in words if not word.startswith(KEY_PREFIX)
    }  # project keys: no settings
    assert {word.removeprefix(PREFIX).lower() for word in others} <= set(Settings.model_fields)


def test_the_addresses_in_the_settings_are_those_of_the_services() -> None:
    settings = load_settings(environment("store_scp"))
    assert container("store_scp")["ports"] == [
        {"name": "dicom", "containerPort": settings.store_port}
    ]
    (port,) = named("Service")["ledger"]["spec"]["ports"]
    for file in ("base/settings.env", "submit/settings.env"):
        told = settings_file(K8S / file)
        assert told["PACSTREAM_LEDGER_HTTP"] == f"http://ledger:{port['port']}"
        assert told["PACSTREAM_DATA"] == "/data"
        assert told["PACSTREAM_STORE_AET"] == settings.store_aet
    broker = named("Service", "rabbitmq")["rabbitmq"]["spec"]["ports"]
    assert {"name": "amqp", "port": 5672, "targetPort": "amqp"} in broker


def test_a_submission_is_for_the_port_that_the_pacs_reaches() -> None:
    (port,) = named("Service", "one-node")["store-scp"]["spec"]["ports"]
    told = settings_file(K8S / "submit/settings.env")
    assert told["PACSTREAM_STORE_PORT"] == str(port["nodePort"])
    assert f'"move_port": {port["nodePort"]}' in (K8S / "submit/config.json").read_text()


def test_probes_ask_what_the_services_answer() -> None:
    one = common()["containers"][0]
    assert one["startupProbe"]["httpGet"] == {"path": "/live", "port": "http"}
    assert one["livenessProbe"]["httpGet"] == {"path": "/live", "port": "http"}
    assert one["readinessProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    store = (ROOT / "services/store_scp/pacstream_store_scp/health.py").read_text()
    bus = (ROOT / "shared/pacstream/bus.py").read_text()
    assert all(f'"{path}"' in text for path in ("/live", "/health") for text in (store, bus))


def test_only_one_ledger_writes_and_only_one_retriever_asks() -> None:
    ledger = deployment("ledger")["spec"]
    assert (ledger["replicas"], ledger["strategy"]) == (1, {"type": "Recreate"})
    assert deployment("retrieve")["spec"]["replicas"] == 2
    assert "retrieve.series.requested" in SINGLE_ACTIVE


def test_each_service_has_as_long_to_drain_as_its_work_may_take() -> None:
    grace = {name: pod_of(deployment(name))["terminationGracePeriodSeconds"] for name in SERVICES}
    settings = load_settings(environment("retrieve"))
    assert grace["retrieve"] > settings.move_deadline_s
    assert grace["converter"] > settings.dcm2niix_timeout_s
    (_, pause) = container("store_scp")["lifecycle"]["preStop"]["exec"]["command"]
    drain = ASSOCIATION_GRACE_S + COMMIT_GRACE_S + REPORT_GRACE_S
    assert grace["store_scp"] > int(pause) + drain
    assert min(grace.values()) >= 60


def test_only_what_writes_results_sees_them() -> None:
    for service in SERVICES:
        mounts = {one["mountPath"] for one in container(service).get("volumeMounts", [])}
        assert mounts == ({"/out"} if service in RELEASING else set())
    assert {one["mountPath"] for one in common()["containers"][0]["volumeMounts"]} == {
        "/data",
        "/tmp",
    }


def pods() -> Iterator[tuple[str, Thing]]:
    yield "services", common()
    for one in things():
        if one["kind"] in ("StatefulSet", "Job") and "one-node" not in one["path"].parts:
            yield one["metadata"]["name"], pod_of(one)


@pytest.mark.parametrize(("name", "pod"), list(pods()))
def test_no_pod_can_do_more_than_it_has_to(name: str, pod: Thing) -> None:
    assert pod["serviceAccountName"] == "pacstream"
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in [*pod["containers"], *pod.get("initContainers", [])]:
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_every_container_has_requests_and_limits() -> None:
    every = [container(name) for name in SERVICES]
    every += [one for name, pod in pods() if name != "services" for one in pod["containers"]]
    for one in every:
        assert set(one["resources"]["requests"]) == set(one["resources"]["limits"])
        assert set(one["resources"]["limits"]) == {"cpu", "memory"}


def test_scaling_follows_all_queues_of_what_may_be_scaled_and_no_other() -> None:
    scaled = named("ScaledObject", "keda")
    assert (
        set(scaled) == {"anonymizer", "converter"} == set(named("HorizontalPodAutoscaler", "hpa"))
    )
    space = yaml.safe_load((K8S / "base/kustomization.yaml").read_text())["namespace"]
    for name, one in scaled.items():
        assert one["spec"]["scaleTargetRef"]["name"] == name
        triggers = [trigger["metadata"] for trigger in one["spec"]["triggers"]]
        own = {queue for queue in work_queues() if queue.startswith(f"{name}.")}
        assert {trigger["queueName"] for trigger in triggers} == own
        assert {t["host"] for t in triggers} == {f"http://rabbitmq.{space}.svc:15672/"}


def names_of(selector: Thing) -> set[str]:
    labels = selector.get("matchLabels", {})
    if labels:
        assert set(labels) == {"app.kubernetes.io/name"}
        values = [labels["app.kubernetes.io/name"]]
    else:
        (rule,) = selector["matchExpressions"]
        assert (rule["key"], rule["operator"]) == ("app.kubernetes.io/name", "In")
        values = rule["values"]
    return {PODS.get(value, value) for value in values}


def peers_of(peer: Thing) -> set[str]:
    if "ipBlock" in peer:
        return {EXTERNAL[peer["ipBlock"]["cidr"]]}
    if "namespaceSelector" in peer:
        (space,) = peer["namespaceSelector"]["matchLabels"].values()
        return {SPACES[space]}
    return names_of(peer["podSelector"])


def allowed(direction: str, side: str) -> set[tuple[str, str, str]]:
    """All (from, to, port) that the policies let out (Egress, to) or in (Ingress, from)."""
    flows: set[tuple[str, str, str]] = set()
    for policy in (one for one in things() if one["kind"] == "NetworkPolicy"):
        if policy["metadata"]["name"] in ("nothing", "names"):
            continue
        spec = policy["spec"]
        for rule in spec.get(direction, []):
            ports = {str(one["port"]) for one in rule.get("ports", [{"port": "its own"}])}
            mine = names_of(spec["podSelector"]) if "podSelector" in spec else patched(policy)
            others = {name for peer in rule.get(side, []) for name in peers_of(peer)} or {"api"}
            pairs = {(a, b) if side == "to" else (b, a) for a in mine for b in others}
            flows |= {(a, b, PORTS.get(port, port)) for a, b in pairs for port in ports}
    return flows


PORTS = {"dicom": "11112", "http": "8080"}


def patched(policy: Thing) -> set[str]:
    """Whom the policy of `base` selects that an overlay's file changes."""
    return names_of(named("NetworkPolicy")[policy["metadata"]["name"]]["spec"]["podSelector"])


def table() -> set[tuple[str, str, str]]:
    text = (ROOT / "docs/flow.md").read_text().partition("## Connections")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")][2:]
    return {
        (one.strip(), row[1].strip(), port.strip())
        for row in rows
        for one in row[0].split(",")
        for port in row[2].split(",")
    }


def test_the_network_policies_allow_the_connections_of_the_flow_and_no_others() -> None:
    inside = {*(name.replace("_", "-") for name in SERVICES), "broker", "cli"}
    assert allowed("egress", "to") == {flow for flow in table() if flow[0] in inside}
    assert allowed("ingress", "from") == {flow for flow in table() if flow[1] in inside}


def test_whatever_is_not_named_is_denied() -> None:
    spec = named("NetworkPolicy")["nothing"]["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_no_secret_lies_in_the_repository() -> None:
    assert not [one["path"] for one in things() if one["kind"] == "Secret"]
