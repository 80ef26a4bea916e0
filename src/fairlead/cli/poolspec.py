"""``--default-address-pool base=CIDR,size=BITS``."""

from __future__ import annotations

from fairlead.model import codes
from fairlead.model.addresses import parse_subnet
from fairlead.model.errors import Invalid


def parse_pool(text: str) -> tuple[str, int]:
    """Base prefix and length of the subnets cut from it; raises ``Invalid``."""
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    if set(fields) != {"base", "size"} or not fields["size"].isascii() or not fields["size"].isdigit():
        raise Invalid(f"invalid address pool {text!r}", hint="write base=10.64.0.0/12,size=24", code=codes.FLAG_INVALID)
    base, size = parse_subnet(fields["base"], "address pool"), int(fields["size"])
    if not base.prefixlen <= size <= base.max_prefixlen:
        raise Invalid(
            f"invalid address pool {text!r}: a subnet of /{size} cannot be cut from {base}",
            hint=f"choose a size from {base.prefixlen} to {base.max_prefixlen}",
            code=codes.FLAG_INVALID,
        )
    return str(base), size
