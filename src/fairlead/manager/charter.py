"""The cluster itself: founded, its spec changed, its secrets and its certificate authority replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from fairlead.ipam.default import Ipam
from fairlead.ipam.pools import GLOBAL
from fairlead.manager import keys, refusals
from fairlead.manager.core import Turn
from fairlead.model import codes
from fairlead.model.cluster import Authority, Cluster, ClusterSpec
from fairlead.model.cluster_commands import InitCluster, ReplaceAuthority, UpdateCluster
from fairlead.model.errors import Conflict, Invalid
from fairlead.pki import rotation
from fairlead.pki.authority import Root, join_root
from fairlead.pki.ids import new_cluster_id
from fairlead.pki.tokens import new_token, new_unlock_key

#: Longest prefix of subnets that are cut from default pools (Docker: four addresses of each have internal uses).
_SUBNET_LENGTH_MAX = 29
#: Ports that the data path may have (Docker).
_DATA_PATH_PORTS = (1024, 49151)
#: Shortest life of a node's certificate in seconds (swarmkit: 1 h).
_CERTIFICATE_MIN_S = 3600.0


def found(turn: Turn, command: InitCluster) -> Cluster:
    """Record a new cluster."""
    if turn.state.clusters:
        raise Conflict(
            'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.',
            code=codes.CONFLICT,
        )
    _check_spec(command.spec)
    check_pools(command.default_pools)
    low, high = _DATA_PATH_PORTS
    if not low <= command.data_path_port <= high:
        raise Invalid(
            f"VXLAN UDP port number is not in valid range ({low}-{high}): {command.data_path_port}",
            hint="leave --data-path-port out for 4789",
            code=codes.CLUSTER_SPEC_INVALID,
        )
    chance = turn.core.chance
    gossip, data = keys.first_rings(chance)
    worker, manager = _tokens(turn, command.authority)
    cluster = Cluster(
        id=new_cluster_id(chance),
        created=turn.at,
        updated=turn.at,
        authority=command.authority,
        worker_token=worker,
        manager_token=manager,
        spec=command.spec,
        default_pools=command.default_pools,
        data_path_port=command.data_path_port,
        gossip_keys=gossip,
        data_keys=data,
        network_secret=keys.new_secret(chance),
        unlock_key=new_unlock_key(chance) if command.spec.autolock else "",
        keys_made=turn.at,
    )
    turn.state.put(cluster)
    turn.core.ipam = address_space(cluster)
    return cluster


def address_space(cluster: Cluster) -> Ipam:
    """Where the cluster's subnets come from, nothing given out yet."""
    return Ipam.create(cluster.default_pools, cluster.id, name=GLOBAL)


def update(turn: Turn, command: UpdateCluster) -> Cluster:
    """Change the cluster's spec, replace its secrets."""
    cluster = turn.state.cluster
    refusals.check_version(command.version, cluster.version)
    chance, root = turn.core.chance, join_root(cluster.authority)
    spec = command.spec or cluster.spec
    _check_spec(spec)
    unlock_key = cluster.unlock_key
    if spec.autolock and (command.rotate_unlock_key or not unlock_key):
        unlock_key = new_unlock_key(chance)
    return turn.put_cluster(
        replace(
            cluster,
            spec=spec,
            worker_token=new_token(root, chance) if command.rotate_worker_token else cluster.worker_token,
            manager_token=new_token(root, chance) if command.rotate_manager_token else cluster.manager_token,
            unlock_key=unlock_key if spec.autolock else "",
        )
    )


def replace_authority(turn: Turn, command: ReplaceAuthority) -> Cluster:
    """Let a new root take over."""
    cluster = turn.state.cluster
    given = Root(command.certificate, command.key) if command.certificate else None
    authority = rotation.begin(cluster.authority, turn.core.chance, turn.at, given)
    return turn.put_cluster(replace(cluster, authority=authority))


def follow_authority(turn: Turn) -> None:
    """Drop the old root if every node has a certificate of the new one."""
    cluster = turn.state.cluster
    if rotation.is_rotating(cluster.authority) and rotation.is_finished(
        cluster.authority, (node.issuer for node in turn.state.nodes.values())
    ):
        authority = rotation.complete(cluster.authority)
        worker, manager = _tokens(turn, authority)
        turn.put_cluster(replace(cluster, authority=authority, worker_token=worker, manager_token=manager))


def check_pools(pools: Sequence[tuple[str, int]]) -> None:
    """Raise what Docker raises for default address pools that cannot be."""
    seen: list[IPv4Network | IPv6Network] = []
    for base, length in pools:
        if length > _SUBNET_LENGTH_MAX:
            raise Invalid(
                f"subnet size is out of range: {length}",
                hint=f"--default-addr-pool-mask-length is at most {_SUBNET_LENGTH_MAX}",
                code=codes.CLUSTER_SPEC_INVALID,
            )
        try:
            pool = ip_network(base, strict=False)
        except ValueError as error:
            raise Invalid(
                f"invalid base pool {base}: invalid CIDR address: {base}",
                hint="write it like 10.20.0.0/16",
                code=codes.CLUSTER_SPEC_INVALID,
            ) from error
        if length < pool.prefixlen:
            raise Invalid(
                f'invalid CIDR: "{base}". Subnet size is too small for pool: {length}',
                hint=f"--default-addr-pool-mask-length is at least {pool.prefixlen} here",
                code=codes.CLUSTER_SPEC_INVALID,
            )
        meets = next((other for other in seen if _overlap(other, pool)), None)
        if meets is not None:
            raise Invalid(
                f"default address pool {pool} overlaps with {meets}",
                hint="give pools that have nothing in common",
                code=codes.CLUSTER_SPEC_INVALID,
            )
        seen.append(pool)


def _overlap(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _tokens(turn: Turn, authority: Authority) -> tuple[str, str]:
    """New tokens for workers and for managers."""
    root = join_root(authority)
    return new_token(root, turn.core.chance), new_token(root, turn.core.chance)


def _check_spec(spec: ClusterSpec) -> None:
    if spec.name != "default":
        raise Invalid('swarm spec must be named "default"', code=codes.CLUSTER_SPEC_INVALID)
    if spec.certificate_s < _CERTIFICATE_MIN_S:
        raise refusals.bad_argument(
            "minimum certificate expiry time is: 1h0m0s",
            hint="nodes need time to renew theirs",
            code=codes.CLUSTER_SPEC_INVALID,
        )
    if spec.heartbeat_s <= 0:
        raise refusals.bad_argument(
            "heartbeat time period cannot be a negative duration",
            hint="5s is usual",
            code=codes.CLUSTER_SPEC_INVALID,
        )
    if spec.task_history < -1:
        raise refusals.bad_argument(
            "task history limit cannot be that small", hint="5 is usual", code=codes.CLUSTER_SPEC_INVALID
        )
