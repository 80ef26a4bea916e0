"""``volumes`` and ``tmpfs`` of a service as mounts."""

from __future__ import annotations

from pathlib import Path

from fairlead.cli.compose.document import Place, Section, fault
from fairlead.cli.stack.keys import Keys, as_text
from fairlead.cli.stack.scalars import flag, size, whole
from fairlead.model.errors import Invalid
from fairlead.model.mount import parse_volume

Body = dict[str, object]


def mounts(service: Keys, volumes: dict[str, str]) -> list[Body]:
    """``Mounts``; ``volumes`` gives the full names of volumes by those in the file. Raises ``Invalid``."""
    made = []
    for item, place in service.items("volumes"):
        if isinstance(item, Section):
            made.append(_long(Keys(item, f"{service.path}.volumes", service.notes), volumes))
        else:
            made.append(_short(as_text(item), place, volumes))
    for text in service.texts("tmpfs"):
        target, _, options = text.partition(":")
        body: Body = {"Type": "tmpfs", "Target": target}
        if options:
            body["TmpfsOptions"] = {"Options": [option.split("=", 1) for option in options.split(",")]}
        made.append(body)
    return made


def _short(text: str, place: Place, volumes: dict[str, str]) -> Body:
    if ":" not in text:
        return {"Type": "volume", "Target": text}
    source, _, rest = text.partition(":")
    path = source.startswith((".", "/", "~"))
    try:
        parsed = parse_volume(f"{_absolute(source, place) if path else source}:{rest}")
    except Invalid as error:
        raise fault(place, error.message, error.hint) from error
    body: Body = {"Type": parsed.kind, "Source": parsed.source, "Target": parsed.target}
    if parsed.read_only:
        body["ReadOnly"] = True
    if parsed.kind == "bind":
        body["BindOptions"] = {
            "CreateMountpoint": True,
            **({"Propagation": parsed.propagation} if parsed.propagation else {}),
        }
    else:
        body["Source"] = _volume(source, place, volumes)
        body |= {} if parsed.copy else {"VolumeOptions": {"NoCopy": True}}
    return body


def _long(given: Keys, volumes: dict[str, str]) -> Body:
    kind, source = given.text("type") or "volume", given.text("source")
    body: Body = {"Type": kind, "Target": given.text("target")}
    if kind == "bind":
        body["Source"] = _absolute(source, given.at("source"))
    elif kind == "volume" and source:
        body["Source"] = _volume(source, given.at("source"), volumes)
    elif kind not in ("volume", "tmpfs"):
        raise given.wrong("type", f"{kind} is not one of bind, volume, tmpfs")
    if flag(given, "read_only"):
        body["ReadOnly"] = True
    bind, volume, tmpfs = given.below("bind"), given.below("volume"), given.below("tmpfs")
    propagation, create = bind.text("propagation"), flag(bind, "create_host_path")
    if propagation or create:
        body["BindOptions"] = {"Propagation": propagation, "CreateMountpoint": bool(create)}
    if flag(volume, "nocopy"):
        body["VolumeOptions"] = {"NoCopy": True}
    size_bytes, mode = size(tmpfs, "size"), whole(tmpfs, "mode")
    if size_bytes or mode:
        body["TmpfsOptions"] = {"SizeBytes": size_bytes or 0, "Mode": mode or 0}
    bind.end({"selinux": "there are no SELinux labels here", "recursive": "submounts come along"})
    volume.end({"subpath": "the whole volume is mounted", "labels": "volumes are labelled where they are made"})
    tmpfs.end()
    given.end({"consistency": "it means something on other systems only"})
    return body


def _absolute(source: str, place: Place) -> str:
    """A host path, relative ones beside the file."""
    return str((Path(place.file).parent / Path(source).expanduser()).absolute())


def _volume(name: str, place: Place, volumes: dict[str, str]) -> str:
    if name not in volumes:
        raise fault(place, f"undefined volume: {name}", f"write {name} below the top-level volumes")
    return volumes[name]
