"""What every ``inspect`` does: a JSON list of what was found, or one line of a template for each, errors beside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from fairlead.cli.faults import complain
from fairlead.cli.template import Template
from fairlead.model.errors import NetError


def show_all(refs: Iterable[str], find: Callable[[str], object], form: str) -> int:
    """Show each object; the exit code, 1 when one was not found. ``form`` is empty, ``json`` or a template."""
    template = Template("{{json .}}" if form == "json" else form) if form else None
    found, code = [], 0
    for ref in refs:
        try:
            item = find(ref)
        except NetError as error:
            code = complain(error)
            continue
        if template:
            print(template.render(item))
        found.append(item)
    if not template:
        print(json.dumps(found, indent=4, ensure_ascii=False) if found else "[]")
    return code
