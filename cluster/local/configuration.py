"""The files that a local cluster's processes are started with: certificates and configurations.

Certificates are made once and kept; configurations are written anew at every start, so that ports
may change between two runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cluster.local.layout import CONTROLLER_MANAGER, HOST, REPLICA_IDS, SCHEDULER, Layout, node_names
from cluster.local.settings import Settings
from h9s import pki
from h9s.config import ClientConfig

_DAYS = 3650


def write_configuration(layout: Layout, settings: Settings) -> None:
    """Make what is missing in the state directory, and bring the addresses in it up to date."""
    layout.state_dir.mkdir(parents=True, exist_ok=True)
    layout.state_dir.chmod(0o700)
    for folder in (layout.pki_dir, layout.log_dir, layout.run_dir, layout.client_config("x").parent):
        folder.mkdir(exist_ok=True)
    ca = _certificate_authority(layout)
    for replica_id in REPLICA_IDS:
        _replica(layout, settings, ca, replica_id)
    for name in (SCHEDULER, CONTROLLER_MANAGER):
        _client(layout, ca, layout.client_config(name), name=name, role=pki.ROLE_COMPONENT)
    for name in node_names(settings.workers):
        _client(layout, ca, layout.client_config(name), name=name, role=pki.ROLE_NODE)
    _client(layout, ca, layout.admin_config, name="admin", role=pki.ROLE_ADMIN)


def _certificate_authority(layout: Layout) -> pki.Credential:
    certificate, key = layout.pki_dir / "ca.crt", layout.pki_dir / "ca.key"
    if not (certificate.exists() and key.exists()):
        pki.create_ca("h9s").save(certificate, key)
    return pki.Credential.load(certificate, key)


def _replica(layout: Layout, settings: Settings, ca: pki.Credential, replica_id: str) -> None:
    certificate, key = layout.pki_dir / f"{replica_id}.crt", layout.pki_dir / f"{replica_id}.key"
    if not (certificate.exists() and key.exists()):
        pki.issue(
            ca,
            common_name=replica_id,
            organization=pki.ROLE_REPLICA,
            dns_names=[pki.APISERVER_NAME, "localhost"],
            ip_addresses=[HOST],
            client=True,
            server=True,
            days=_DAYS,
        ).save(certificate, key)
    path = layout.apiserver_config(replica_id)
    path.parent.mkdir(exist_ok=True)
    document = apiserver_document(layout, settings, replica_id)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def apiserver_document(layout: Layout, settings: Settings, replica_id: str) -> dict[str, Any]:
    """The configuration of one replica."""
    ports = layout.replica_ports(replica_id)
    return {
        "clusterId": settings.cluster_id,
        "replicaId": replica_id,
        "dataDir": str(layout.data_dir(replica_id)),
        "apiAddress": f"{HOST}:{ports.api}",
        "peerAddress": f"{HOST}:{ports.peer}",
        "metricsAddress": f"{HOST}:{ports.metrics}",
        "joinAddress": f"{HOST}:{ports.join}",
        "replicas": [
            {
                "id": peer_id,
                "apiAddress": layout.api_address(peer_id),
                "peerAddress": f"{HOST}:{layout.replica_ports(peer_id).peer}",
                "joinAddress": f"{HOST}:{layout.replica_ports(peer_id).join}",
            }
            for peer_id in REPLICA_IDS
        ],
        "pki": {
            "ca": str(layout.pki_dir / "ca.crt"),
            "caKey": str(layout.pki_dir / "ca.key"),
            "certificate": str(layout.pki_dir / f"{replica_id}.crt"),
            "key": str(layout.pki_dir / f"{replica_id}.key"),
        },
    }


def _client(layout: Layout, ca: pki.Credential, path: Path, *, name: str, role: str) -> None:
    if path.exists():
        kept = ClientConfig.load(path)
        if kept.servers == layout.api_addresses:
            return
        credential = pki.Credential(certificate=kept.certificate, key=kept.key)
        namespace = kept.namespace
    else:
        is_node = role == pki.ROLE_NODE
        credential = pki.issue(
            ca,
            common_name=name,
            organization=role,
            dns_names=[pki.HOWBELET_NAME] if is_node else [],
            ip_addresses=[HOST] if is_node else [],
            client=True,
            server=is_node,
            days=_DAYS,
        )
        namespace = "default"
    ClientConfig(
        servers=layout.api_addresses,
        ca=ca.certificate,
        certificate=credential.certificate,
        key=credential.key,
        namespace=namespace,
    ).save(path)
