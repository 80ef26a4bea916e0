"""Clusters and their nodes in the Engine API's JSON, both ways."""

from __future__ import annotations

import base64
from dataclasses import replace

from msgspec import Struct, field

from fairlead.api.contract_swarm import Addresses, InitWish, JoinWish, Root, SwarmStatus
from fairlead.api.schema import stamp
from fairlead.api.schema_network import IpamConfigBody
from fairlead.model.cluster import (
    ACTIVE,
    DATA_PATH_PORT,
    DEFAULT_POOLS,
    MANAGER,
    Cluster,
    ClusterNode,
    ClusterSpec,
    NodeSpec,
)
from fairlead.model.errors import Invalid, NotImplementedHere
from fairlead.model.network import PoolRequest

_NANO = 1_000_000_000
#: What Docker tells of its consensus; there is none of it here, and clients show the numbers.
_RAFT = {
    "SnapshotInterval": 10000,
    "KeepOldSnapshots": 0,
    "LogEntriesForSlowFollowers": 500,
    "ElectionTick": 10,
    "HeartbeatTick": 1,
}
#: Longest subnet of the default pools: four addresses of each have internal uses (Docker).
_SUBNET_BITS_MAX = 29
_SUBNET_BITS = DEFAULT_POOLS[0][1]


class OrchestrationBody(Struct):
    """How much of the past is kept."""

    task_history: int | None = field(name="TaskHistoryRetentionLimit", default=None)


class DispatcherBody(Struct):
    """How nodes and managers keep in touch; nanoseconds."""

    heartbeat: int | None = field(name="HeartbeatPeriod", default=None)


class AuthorityBody(Struct):
    """The certificate authority; nanoseconds, PEM."""

    expiry: int | None = field(name="NodeCertExpiry", default=None)
    external: list[object] | None = field(name="ExternalCAs", default=None)
    certificate: str | None = field(name="SigningCACert", default=None)
    key: str | None = field(name="SigningCAKey", default=None)
    force_rotate: int | None = field(name="ForceRotate", default=None)


class EncryptionBody(Struct):
    """Whether managers need a key to start."""

    autolock: bool | None = field(name="AutoLockManagers", default=None)


class ClusterSpecBody(Struct):
    """A cluster's spec; what is null or 0 stays as it is."""

    name: str | None = field(name="Name", default=None)
    labels: dict[str, str] | None = field(name="Labels", default=None)
    orchestration: OrchestrationBody | None = field(name="Orchestration", default=None)
    dispatcher: DispatcherBody | None = field(name="Dispatcher", default=None)
    authority: AuthorityBody | None = field(name="CAConfig", default=None)
    encryption: EncryptionBody | None = field(name="EncryptionConfig", default=None)

    def merged(self, known: ClusterSpec) -> ClusterSpec:
        """The spec after this; raises ``Invalid``, ``NotImplementedHere``."""
        orchestration, dispatcher = self.orchestration or OrchestrationBody(), self.dispatcher or DispatcherBody()
        authority, encryption = self.authority or AuthorityBody(), self.encryption or EncryptionBody()
        if authority.external:
            raise NotImplementedHere("external certificate authorities", hint="leave --external-ca out")
        if self.name not in (None, "", known.name):
            raise Invalid(f'swarm spec must be named "{known.name}"', hint="leave the name as it is")
        spec = replace(
            known,
            labels=known.labels if self.labels is None else self.labels,
            task_history=known.task_history if orchestration.task_history is None else orchestration.task_history,
            heartbeat_s=dispatcher.heartbeat / _NANO if dispatcher.heartbeat else known.heartbeat_s,
            certificate_s=authority.expiry / _NANO if authority.expiry else known.certificate_s,
            autolock=known.autolock if encryption.autolock is None else encryption.autolock,
            force_rotate=authority.force_rotate or known.force_rotate,
        )
        if spec.task_history < 0 or spec.heartbeat_s < 0 or spec.certificate_s < 0:
            raise Invalid("invalid swarm spec: a number is negative", hint="leave out what is to stay")
        return spec


class InitBody(Struct):
    """``POST /swarm/init``."""

    listen: str | None = field(name="ListenAddr", default=None)
    advertise: str | None = field(name="AdvertiseAddr", default=None)
    data_path: str | None = field(name="DataPathAddr", default=None)
    data_path_port: int | None = field(name="DataPathPort", default=None)
    force_new: bool | None = field(name="ForceNewCluster", default=None)
    spec: ClusterSpecBody | None = field(name="Spec", default=None)
    autolock: bool | None = field(name="AutoLockManagers", default=None)
    availability: str | None = field(name="Availability", default=None)
    pools: list[str] | None = field(name="DefaultAddrPool", default=None)
    subnet_bits: int | None = field(name="SubnetSize", default=None)

    def wish(self) -> InitWish:
        """The same as a value; raises ``Invalid``."""
        bits = self.subnet_bits or _SUBNET_BITS
        if bits > _SUBNET_BITS_MAX or bits < 1:
            raise Invalid(
                f"invalid SubnetSize: {bits}", hint=f"the length of subnets' masks is at most {_SUBNET_BITS_MAX}"
            )
        spec = (self.spec or ClusterSpecBody()).merged(ClusterSpec())
        return InitWish(
            Addresses(self.listen or "", self.advertise or "", self.data_path or ""),
            replace(spec, autolock=spec.autolock or bool(self.autolock)),
            self.availability or ACTIVE,
            tuple((pool, bits) for pool in self.pools) if self.pools else ((DEFAULT_POOLS[0][0], bits),),
            self.data_path_port or DATA_PATH_PORT,
            bool(self.force_new),
        )


class JoinBody(Struct):
    """``POST /swarm/join``."""

    listen: str | None = field(name="ListenAddr", default=None)
    advertise: str | None = field(name="AdvertiseAddr", default=None)
    data_path: str | None = field(name="DataPathAddr", default=None)
    remotes: list[str] | None = field(name="RemoteAddrs", default=None)
    token: str | None = field(name="JoinToken", default=None)
    availability: str | None = field(name="Availability", default=None)

    def wish(self) -> JoinWish:
        """The same as a value; raises ``Invalid``."""
        remotes = tuple(remote for remote in self.remotes or () if remote)
        if not remotes:
            raise Invalid("at least 1 RemoteAddr is required to join", hint="name a manager, as in 192.0.2.10:2377")
        addresses = Addresses(self.listen or "", self.advertise or "", self.data_path or "")
        return JoinWish(self.token or "", remotes, addresses, self.availability or ACTIVE)


class UnlockBody(Struct):
    """``POST /swarm/unlock``."""

    key: str = field(name="UnlockKey", default="")


class NodeSpecBody(Struct):
    """``POST /nodes/{id}/update``."""

    name: str | None = field(name="Name", default=None)
    labels: dict[str, str] | None = field(name="Labels", default=None)
    role: str | None = field(name="Role", default=None)
    availability: str | None = field(name="Availability", default=None)

    def merged(self, known: NodeSpec) -> NodeSpec:
        """The spec after this: Docker's clients send all of it, and what is null stays."""
        return NodeSpec(
            known.role if self.role is None else self.role,
            known.availability if self.availability is None else self.availability,
            known.name if self.name is None else self.name,
            known.labels if self.labels is None else self.labels,
        )


class NetworkUpdateBody(Struct):
    """``POST /fairlead/networks/{id}/update``: what a network of the cluster is to have beside what it has."""

    config: list[IpamConfigBody] = field(name="Config", default_factory=list)

    def pools(self) -> tuple[PoolRequest, ...]:
        """The subnets to add."""
        return tuple(
            PoolRequest(pool.subnet or "", pool.ip_range or "", pool.gateway or "", pool.aux or {})
            for pool in self.config
        )


def cluster_json(cluster: Cluster, root: Root, *, secrets: bool) -> dict[str, object]:
    """The cluster; with ``secrets`` its tokens too."""
    spec = cluster.spec
    body: dict[str, object] = {
        "ID": cluster.id,
        "Version": {"Index": cluster.version},
        "CreatedAt": stamp(cluster.created),
        "UpdatedAt": stamp(cluster.updated),
        "Spec": {
            "Name": spec.name,
            "Labels": spec.labels,
            "Orchestration": {"TaskHistoryRetentionLimit": spec.task_history},
            "Raft": _RAFT,
            "Dispatcher": {"HeartbeatPeriod": round(spec.heartbeat_s * _NANO)},
            "CAConfig": {"NodeCertExpiry": round(spec.certificate_s * _NANO), "ForceRotate": spec.force_rotate},
            "TaskDefaults": {},
            "EncryptionConfig": {"AutoLockManagers": spec.autolock},
        },
        "TLSInfo": _tls(root),
        "RootRotationInProgress": bool(cluster.authority.next_key),
        "DataPathPort": cluster.data_path_port,
        "DefaultAddrPool": [pool for pool, _ in cluster.default_pools],
        "SubnetSize": cluster.default_pools[0][1] if cluster.default_pools else _SUBNET_BITS,
    }
    if secrets:
        body["JoinTokens"] = {"Worker": cluster.worker_token, "Manager": cluster.manager_token}
    return body


def node_json(node: ClusterNode, root: Root) -> dict[str, object]:
    """A node of the cluster; ``root`` is the one that its certificate comes from."""
    spec, told = node.spec, node.description
    body: dict[str, object] = {
        "ID": node.id,
        "Version": {"Index": node.version},
        "CreatedAt": stamp(node.created),
        "UpdatedAt": stamp(node.updated),
        "Spec": {"Name": spec.name, "Labels": spec.labels, "Role": spec.role, "Availability": spec.availability},
        "Description": {
            "Hostname": told.hostname,
            "Platform": {"Architecture": told.architecture, "OS": told.os},
            "Resources": {"NanoCPUs": told.nano_cpus, "MemoryBytes": told.memory_bytes},
            "Engine": {
                "EngineVersion": told.engine_version,
                "Labels": told.labels,
                "Plugins": [{"Type": "Network", "Name": name} for name in told.drivers],
            },
            "TLSInfo": _tls(root),
        },
        "Status": {"State": node.state, "Message": node.message, "Addr": node.address},
    }
    if node.role == MANAGER:
        reachability = "reachable" if node.state == "ready" or node.leader else "unreachable"
        status: dict[str, object] = {"Reachability": reachability, "Addr": node.manager_address}
        body["ManagerStatus"] = {"Leader": True, **status} if node.leader else status
    return body


def swarm_info(status: SwarmStatus) -> dict[str, object]:
    """The section ``Swarm`` of ``/info``, without what only a leader knows."""
    remotes = [{"NodeID": node_id, "Addr": address} for node_id, address in status.managers]
    return {
        "NodeID": status.node_id,
        "NodeAddr": status.address,
        "LocalNodeState": status.state,
        "ControlAvailable": status.manager,
        "Error": status.error,
        "RemoteManagers": remotes or None,
    }


def _tls(root: Root) -> dict[str, object]:
    return {
        "TrustRoot": root.pem,
        "CertIssuerSubject": base64.b64encode(root.subject).decode(),
        "CertIssuerPublicKey": base64.b64encode(root.public_key).decode(),
    }
