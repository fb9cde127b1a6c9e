"""deploy/kubernetes: the manifests fit together, and fit the config they mount. Read as data: no cluster is needed."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from proxy import __version__
from tests.deploy import read
from tests.gateways import Rig
from tests.house import tree

KUSTOMIZATION = read.data(f"{read.KUBERNETES}/kustomization.yaml")
OBJECTS = {
    (found["kind"], found["metadata"]["name"]): found
    for name in KUSTOMIZATION["resources"]
    for found in read.manifests(f"{read.KUBERNETES}/{name}")
}
SET: dict[str, Any] = OBJECTS["StatefulSet", "waystation"]["spec"]
POD: dict[str, Any] = SET["template"]["spec"]
(CONTAINER,) = POD["containers"]
LABELS: dict[str, str] = SET["template"]["metadata"]["labels"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
CONFIG = read.config(read.KUBERNETES_CONFIG)
PROBES = pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])


def test_every_file_is_used_or_offered() -> None:
    files = {PurePosixPath(name).name for name in read.below(read.KUBERNETES)} - {"kustomization.yaml"}
    generated = {file for one in KUSTOMIZATION["configMapGenerator"] for file in one["files"]}
    offered = {"servicemonitor.yaml", "secret.env.example"}
    assert files == {*KUSTOMIZATION["resources"], *generated, *offered}
    assert all(name in tree.text(f"{read.KUBERNETES}/kustomization.yaml") for name in offered)


def test_the_image_is_that_of_this_version() -> None:
    (image,) = KUSTOMIZATION["images"]
    assert image == {"name": CONTAINER["image"], "newTag": __version__}


def test_the_ports_are_the_configs() -> None:
    assert CONFIG.server.admin_listen is not None
    assert {"http": CONFIG.server.listen.port, "admin": CONFIG.server.admin_listen.port} == PORTS
    annotations = SET["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(PORTS["admin"])


@PROBES
async def test_probes_ask_the_admin_port_for_what_there_is(probe: str) -> None:
    get = CONTAINER[probe]["httpGet"]
    assert get["port"] == "admin"
    async with Rig().admin(key=None) as client:
        assert (await client.get(get["path"])).status_code == 200


async def test_prometheus_asks_for_a_path_that_is_not_the_clients() -> None:
    path = SET["template"]["metadata"]["annotations"]["prometheus.io/path"]
    (endpoint,) = read.data(f"{read.KUBERNETES}/servicemonitor.yaml")["spec"]["endpoints"]
    assert endpoint["path"] == path
    async with Rig().admin(key=None) as admin, Rig().client(key=None) as client:
        assert (await admin.get(path)).status_code == 200
        assert (await client.get(path)).status_code == 404


def test_probes_are_for_what_they_are_for() -> None:
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == CONTAINER["startupProbe"]["httpGet"]["path"] == "/livez"
    noticed_s = CONTAINER["readinessProbe"]["periodSeconds"] * CONTAINER["readinessProbe"]["failureThreshold"]
    assert CONFIG.server.drain_delay_s >= noticed_s + 10


def test_a_pod_is_not_killed_before_its_last_call_is_over() -> None:
    assert POD["terminationGracePeriodSeconds"] >= read.least_grace_s(read.KUBERNETES_CONFIG)


def test_the_config_is_a_folder_that_follows_the_config_map() -> None:
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert generated["options"] == {"disableNameSuffixHash": True}
    file = PurePosixPath(CONTAINER["args"][-1])
    assert CONTAINER["args"][:2] == ["serve", "--config"]
    assert generated["files"] == [file.name]
    (mount,) = [one for one in CONTAINER["volumeMounts"] if one["mountPath"] == str(file.parent)]
    assert "subPath" not in mount
    (volume,) = [one for one in POD["volumes"] if one["name"] == mount["name"]]
    assert volume["configMap"]["name"] == generated["name"]


def test_the_journal_outlives_the_pod() -> None:
    (claim,) = SET["volumeClaimTemplates"]
    (mount,) = [one for one in CONTAINER["volumeMounts"] if one["name"] == claim["metadata"]["name"]]
    assert CONFIG.state.journal.startswith(f"{mount['mountPath']}/")
    assert SET["persistentVolumeClaimRetentionPolicy"] == {"whenScaled": "Retain", "whenDeleted": "Retain"}


def test_every_mounted_volume_is_there() -> None:
    claims = [claim["metadata"]["name"] for claim in SET["volumeClaimTemplates"]]
    assert {one["name"] for one in CONTAINER["volumeMounts"]} == {*claims, *(one["name"] for one in POD["volumes"])}


def test_secrets_come_from_a_secret_that_is_not_ours() -> None:
    assert CONTAINER["envFrom"] == [{"secretRef": {"name": "waystation"}}]
    assert not [kind for kind, _ in OBJECTS if kind == "Secret"]
    example = tree.text(f"{read.KUBERNETES}/secret.env.example")
    assert "create secret generic waystation --from-env-file=secret.env" in example


def test_whatever_selects_selects_the_pods() -> None:
    selectors = [
        SET["selector"]["matchLabels"],
        OBJECTS["PodDisruptionBudget", "waystation"]["spec"]["selector"]["matchLabels"],
        OBJECTS["NetworkPolicy", "waystation"]["spec"]["podSelector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in POD["topologySpreadConstraints"]),
        *(found["spec"]["selector"] for (kind, _), found in OBJECTS.items() if kind == "Service"),
    ]
    assert len(selectors) == 7
    assert all(selector and selector.items() <= LABELS.items() for selector in selectors)


def test_services_lead_to_the_ports() -> None:
    services = {name: found["spec"] for (kind, name), found in OBJECTS.items() if kind == "Service"}
    for service in services.values():
        for port in service["ports"]:
            assert port["port"] == PORTS[port["targetPort"]]
    assert SET["serviceName"] in services
    assert services[SET["serviceName"]]["clusterIP"] == "None"
    assert [port["targetPort"] for port in services["waystation"]["ports"]] == ["http"]
    policy = OBJECTS["NetworkPolicy", "waystation"]["spec"]
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == PORTS.keys()


def test_the_service_monitor_finds_the_admin_service() -> None:
    (monitor,) = read.manifests(f"{read.KUBERNETES}/servicemonitor.yaml")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = [found for (kind, _), found in OBJECTS.items() if kind == "Service"]
    (found,) = [service for service in services if wanted <= service["metadata"]["labels"].items()]
    assert monitor["spec"]["endpoints"][0]["port"] in [port["name"] for port in found["spec"]["ports"]]
    assert found["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "waystation"  # the alerts' job


def test_the_autoscaler_scales_the_set_and_alone() -> None:
    scaler = OBJECTS["HorizontalPodAutoscaler", "waystation"]["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "waystation"}
    assert OBJECTS["StatefulSet", "waystation"]["apiVersion"] == "apps/v1"
    assert "replicas" not in SET
    (metric,) = scaler["metrics"]
    assert metric["resource"]["name"] in CONTAINER["resources"]["requests"]  # a share of nothing is nothing
    assert scaler["maxReplicas"] > scaler["minReplicas"] >= 3


def test_one_pod_less_than_the_fewest_can_carry_the_load() -> None:
    scaler = OBJECTS["HorizontalPodAutoscaler", "waystation"]["spec"]
    busy = scaler["metrics"][0]["resource"]["target"]["averageUtilization"] / 100
    assert OBJECTS["PodDisruptionBudget", "waystation"]["spec"]["maxUnavailable"] == 1
    assert SET["updateStrategy"] == {"type": "RollingUpdate"}  # one at a time
    assert busy * scaler["minReplicas"] / (scaler["minReplicas"] - 1) < 1


def test_the_pod_keeps_to_the_restricted_standard() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    user = f"{POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}"
    assert f"USER {user}" in tree.text("Dockerfile").splitlines()
    assert POD["securityContext"]["fsGroup"] == POD["securityContext"]["runAsGroup"]
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    labels = OBJECTS["Namespace", "waystation"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_everything_is_in_the_one_namespace() -> None:
    assert ("Namespace", KUSTOMIZATION["namespace"]) in OBJECTS
    assert not [name for (_, name), found in OBJECTS.items() if "namespace" in found["metadata"]]


def test_the_memory_is_enough_for_the_cache() -> None:
    idle, bodies = 90_000_000, 20 * CONFIG.server.max_body_bytes
    needed = idle + CONFIG.cache.memory_bytes * 9 / 8 + bodies
    assert read.size(CONTAINER["resources"]["limits"]["memory"]) > needed
    assert "cpu" not in CONTAINER["resources"]["limits"]
