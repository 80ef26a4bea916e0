"""Our tables in a namespace, whole: made anew at one moment, and in the node's own namespace owned.

An owned table (see ``nft``) is what keeps the node closed while others flush the firewall: nothing of ours goes with it,
so there is no moment to mend. What is here works without ownership, too, on older kernels and in sandboxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from fairlead.kernel import ruleset
from fairlead.kernel.errno import Refused
from fairlead.kernel.nft import Nft
from fairlead.plan.diff import Create, Delete, Step
from fairlead.plan.objects import Key, Object, Table


def remake(nft: Nft, ns: str, objects: Sequence[Object], gone: Iterable[Table] = ()) -> dict[Key, Table]:
    """Make the tables of a namespace what ``objects`` say, in one transaction; those of ours that stand and are not
    among them, and those ``gone``, go. Connections go on: their tracking does not belong to tables. The tables that
    stood before. Raises ``Refused``; then nothing has changed."""
    present = {table.key: table for table in ruleset.tables_in(nft.run("list tables"), ns)}
    held: dict[Key, Sequence[str]] = {}
    for item in objects:
        if isinstance(item, Table) and not ns and nft.claim(item.family, item.name):
            held[item.key] = ruleset.emptied(nft.run_json_terse(f"list table {item.family} {item.name}"))
    leftovers = (*present.values(), *gone)
    kept = {item.key for item in objects if isinstance(item, Table)}
    for table in leftovers:
        # one that an owner left behind is not to be added without one, which is how others are made sure of
        if table.key not in kept and not ns and nft.claim(table.family, table.name):
            held[table.key] = (f"delete table {table.family} {table.name}",)
    script = ruleset.ruleset(objects, leftovers, held)
    if script:
        nft.run(script)
    return present


def change(nft: Nft, ns: str, steps: Sequence[Step], whole: Callable[[], Sequence[Object]] | None) -> None:
    """Carry the firewall steps of a namespace out in one transaction. When the kernel refuses it, a stranger may have
    changed our tables: then they are made anew as ``whole`` says (None: not). Raises the first ``Refused``; then nothing
    has changed."""
    fresh = [step.object for step in steps if isinstance(step, Create) and isinstance(step.object, Table)]
    try:
        held = [table.key for table in fresh if not ns and nft.claim(table.family, table.name)]
        nft.run(ruleset.transaction(steps, held))
    except Refused:
        gone = [step.object for step in steps if isinstance(step, Delete) and isinstance(step.object, Table)]
        with suppress(Refused):
            if whole is not None:
                remake(nft, ns, whole(), gone)
                return
        for table in fresh:
            with suppress(Refused):
                nft.run(f"delete table {table.family} {table.name}")
        raise
