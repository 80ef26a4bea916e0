"""What a node says of itself to its managers."""

from __future__ import annotations

import fairlead
from fairlead.api.contract import NodeFacts
from fairlead.model.cluster import NodeDescription

_NANO = 1_000_000_000


def describe(facts: NodeFacts, no_encryption: str, no_ipvs: str) -> NodeDescription:
    """The description of this machine; addresses and keys are the member's to fill in."""
    return NodeDescription(
        hostname=facts.hostname,
        architecture=facts.architecture,
        nano_cpus=facts.cpus * _NANO,
        memory_bytes=facts.memory_bytes,
        engine_version=fairlead.__version__,
        drivers=facts.drivers,
        no_encryption=no_encryption,
        no_ipvs=no_ipvs,
    )
