"""The lists of Fairlead: for each kind of object its columns, and how a row is made of the API's JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from fairlead.api.client import human_duration
from fairlead.cli.console import record, records, text
from fairlead.cli.table import Kind, Row, natural

#: Characters of an identifier and of a command in tables, as Docker's.
SHORT_ID = 12
_COMMAND_WIDTH = 20

NETWORK = Kind(
    headers={
        "ID": "NETWORK ID",
        "Name": "NAME",
        "Driver": "DRIVER",
        "Scope": "SCOPE",
        "IPv4": "IPV4",
        "IPv6": "IPV6",
        "Internal": "INTERNAL",
        "Labels": "LABELS",
        "CreatedAt": "CREATED AT",
    },
    shown=("ID", "Name", "Driver", "Scope"),
    key="ID",
    order=lambda row: natural(row["Name"]),
)

CONTAINER = Kind(
    headers={
        "ID": "CONTAINER ID",
        "Image": "IMAGE",
        "Command": "COMMAND",
        "RunningFor": "CREATED",
        "Status": "STATUS",
        "Ports": "PORTS",
        "Names": "NAMES",
        "State": "STATE",
        "CreatedAt": "CREATED AT",
        "Labels": "LABELS",
        "Mounts": "MOUNTS",
        "Networks": "NETWORKS",
        "Size": "SIZE",
        "LocalVolumes": "LOCAL VOLUMES",
    },
    shown=("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"),
    key="ID",
)

SANDBOX = Kind(
    headers={
        "ID": "SANDBOX ID",
        "Name": "NAME",
        "Target": "TARGET",
        "Pid": "PID",
        "Networks": "NETWORKS",
        "Ports": "PORTS",
        "DnsMode": "DNS",
    },
    shown=("ID", "Name", "Target", "Networks", "Ports"),
    key="ID",
    order=lambda row: natural(row["Name"]),
)

IMAGE = Kind(
    headers={"Name": "NAME", "ID": "IMAGE ID", "Created": "CREATED", "Size": "SIZE"},
    shown=("Name", "ID", "Created", "Size"),
    key="Name",
    order=lambda row: natural(row["Name"]),
)


def network_row(network: dict[str, object], *, full: bool) -> Row:
    """A network's row out of its JSON; ``full`` shortens nothing."""
    return {
        "ID": text(network.get("Id"))[: None if full else SHORT_ID],
        "Name": text(network.get("Name")),
        "Driver": text(network.get("Driver")),
        "Scope": text(network.get("Scope")),
        "IPv4": _truth(network.get("EnableIPv4")),
        "IPv6": _truth(network.get("EnableIPv6")),
        "Internal": _truth(network.get("Internal")),
        "Labels": _labels(network.get("Labels")),
        "Label": _label(network.get("Labels")),
        "CreatedAt": _moment(text(network.get("Created"))),
    }


def container_row(container: dict[str, object], *, full: bool) -> Row:
    """A container's row out of its line in the API's list."""
    created = container.get("Created")
    born = float(created) if isinstance(created, int | float) else 0.0
    command = text(container.get("Command"))
    if not full and len(command) > _COMMAND_WIDTH:
        command = command[: _COMMAND_WIDTH - 1] + "…"
    names = container.get("Names")
    mounts = [text(mount.get("Source")) for mount in records(container.get("Mounts"))]
    return {
        "ID": text(container.get("Id"))[: None if full else SHORT_ID],
        "Image": text(container.get("Image")),
        "Command": f'"{command}"',
        "RunningFor": human_duration(time.time() - born) + " ago",
        "Status": text(container.get("Status")),
        "State": text(container.get("State")),
        "Ports": ports_text(records(container.get("Ports"))),
        "Names": ",".join(text(name).removeprefix("/") for name in names) if isinstance(names, list) else "",
        "CreatedAt": _moment(datetime.fromtimestamp(born).astimezone().isoformat()),
        "Labels": _labels(container.get("Labels")),
        "Label": _label(container.get("Labels")),
        "Mounts": ",".join(mounts),
        "Networks": ",".join(sorted(record(record(container.get("NetworkSettings")).get("Networks")), key=natural)),
        "Size": "0B",
        "LocalVolumes": "0",
    }


def sandbox_row(sandbox: dict[str, object], *, full: bool) -> Row:
    """A row for a sandbox without a container, out of its JSON."""
    settings = record(sandbox.get("NetworkSettings"))
    ports = [
        {
            "IP": text(host.get("HostIp")),
            "Type": key.partition("/")[2],
            "PrivatePort": int(key.partition("/")[0]),
            "PublicPort": int(text(host.get("HostPort"))),
        }
        for key, hosts in record(settings.get("Ports")).items()
        for host in records(hosts)
    ]
    return {
        "ID": text(sandbox.get("Id"))[: None if full else SHORT_ID],
        "Name": text(sandbox.get("Name")),
        "Target": text(sandbox.get("Target")),
        "Pid": text(sandbox.get("Pid") or None),
        "Networks": ",".join(sorted(record(settings.get("Networks")), key=natural)),
        "Ports": ports_text(ports),
        "DnsMode": text(sandbox.get("DnsMode")),
    }


def image_row(image: dict[str, object]) -> Row:
    """An image's row out of its line in the API's list."""
    created, size = image.get("Created"), image.get("Size")
    born = float(created) if isinstance(created, int | float) else 0.0
    tags = image.get("RepoTags")
    names = [text(tag).removesuffix(":latest") for tag in tags] if isinstance(tags, list) else []
    return {
        "Name": ", ".join(names),
        "ID": text(image.get("Id")).removeprefix("sha256:")[:SHORT_ID],
        "Created": human_duration(time.time() - born) + " ago",
        "Size": human_size(size if isinstance(size, int) else 0),
    }


VOLUME = Kind(
    headers={"Driver": "DRIVER", "Name": "VOLUME NAME", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS"},
    shown=("Driver", "Name"),
    key="Name",
    order=lambda row: natural(row["Name"]),
)


def volume_row(volume: dict[str, object]) -> Row:
    """A volume's row out of its JSON."""
    return {
        "Driver": text(volume.get("Driver")),
        "Name": text(volume.get("Name")),
        "Mountpoint": text(volume.get("Mountpoint")),
        "Labels": _labels(volume.get("Labels")),
    }


def ports_text(ports: list[dict[str, object]]) -> str:
    """Published and exposed ports as Docker writes them, runs of consecutive ones drawn together."""
    spans: list[list[int | str]] = []
    keys = [
        (
            text(port.get("IP")),
            text(port.get("Type")),
            _number(port.get("PrivatePort")),
            _number(port.get("PublicPort")),
        )
        for port in ports
    ]
    for address, proto, private, public in sorted(keys, key=lambda key: (key[0], key[1], key[2], key[3])):
        last = spans[-1] if spans else None
        step = 1 if public else 0
        follows = last and last[:2] == [address, proto] and last[3] == private - 1 and last[5] == public - step
        if last and follows and bool(last[4]) == bool(public):
            last[3], last[5] = private, public
        else:
            spans.append([address, proto, private, private, public, public])
    return ", ".join(
        _span(*span) for span in sorted(spans, key=lambda span: (_number(span[2]), str(span[1]), str(span[0])))
    )


def _span(address: object, proto: object, first: object, last: object, low: object, high: object) -> str:
    inner = f"{first}" if first == last else f"{first}-{last}"
    if not low:
        return f"{inner}/{proto}"
    outer = f"{low}" if low == high else f"{low}-{high}"
    host = f"[{address}]" if ":" in str(address) else address
    return f"{host}:{outer}->{inner}/{proto}"


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _truth(value: object) -> str:
    return "true" if value else "false"


def _labels(value: object) -> str:
    return ",".join(f"{key}={item}" for key, item in sorted(record(value).items()))


def _label(value: object) -> Callable[[str], str]:
    labels = record(value)
    return lambda key: text(labels.get(key))


def _moment(stamp: str) -> str:
    """RFC 3339 text as Go prints a time."""
    try:
        moment = datetime.fromisoformat(stamp[:26] + ("+00:00" if stamp.endswith("Z") else stamp[26:]))
    except ValueError:
        return stamp
    return f"{moment:%Y-%m-%d %H:%M:%S %z} {moment.tzname()}"


def human_size(size: int, digits: int = 3) -> str:
    """Bytes in decimal units with so many digits (docker/go-units: HumanSizeWithPrecision)."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.{digits}g}{unit}"
