"""Whether a node may do what it asks for: checked on every call, since a node may be removed or demoted at any time."""

from __future__ import annotations

from collections.abc import Mapping

from fairlead.model import codes
from fairlead.model.errors import Forbidden
from fairlead.pki.certificates import Identity


def check_member(identity: Identity, cluster_id: str, removed: Mapping[str, float], at: float) -> None:
    """Raises ``Forbidden`` unless the node belongs to the cluster at this moment (epoch seconds). A connection that was
    good when it was made may have outlived its certificate."""
    if identity.cluster_id != cluster_id:
        raise Forbidden(
            f"node {identity.node_id} is of cluster {identity.cluster_id}, this is {cluster_id}",
            code=codes.OTHER_CLUSTER,
        )
    if identity.node_id in removed:
        raise Forbidden(
            f"node {identity.node_id} was removed from the cluster",
            hint="leave on that node, then join again: fairlead swarm leave --force",
            code=codes.NODE_REMOVED,
        )
    if at > identity.not_after:
        raise Forbidden(f"the certificate of node {identity.node_id} has expired", code=codes.CERTIFICATE_EXPIRED)


def check_role(identity: Identity, *roles: str) -> None:
    """Raises ``Forbidden`` unless the node has one of the roles."""
    if identity.role not in roles:
        raise Forbidden(
            f"Permission denied: node {identity.node_id} is a {identity.role}, this call is for a {' or '.join(roles)}",
            hint="a manager can promote it: fairlead node promote",
            code=codes.ROLE_REFUSED,
        )
