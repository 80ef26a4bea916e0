"""Names for containers whose user gave none: two words that are easy to say in the night."""

from __future__ import annotations

from fairlead.model.ids import Chance
from fairlead.model.state import State

_FIRST = (
    "able brave bright brisk calm clear deep eager fair fleet free fresh gentle glad grand hardy keen kind light lively "
    "lucky merry mighty neat noble quick quiet ready rosy sharp silver sleek smart snug sound spry steady stout strong "
    "sunny sure swift tidy true trusty vivid warm wise"
).split()
_SECOND = (
    "anchor barque beacon bollard bosun bowline brig buoy cable capstan clipper cutter davit dinghy dory ferry fender "
    "fluke frigate gaff galleon halyard harbour hawser helm jetty kedge keel ketch lanyard lugger mast pilot pinnace "
    "quay rudder sail schooner sextant sheave shoal skiff sloop spar tiller topsail tug wherry windlass yawl"
).split()
#: Tries of two words alone before a number is added.
_TRIES = 16


def invent_name(chance: Chance, state: State) -> str:
    """A name that no container of the node has."""
    for _ in range(_TRIES):
        name = f"{_pick(_FIRST, chance)}_{_pick(_SECOND, chance)}"
        if state.container_named(name) is None:
            return name
    return f"{name}_{chance.getrandbits(32)}"


def _pick(words: list[str], chance: Chance) -> str:
    return words[chance.getrandbits(32) % len(words)]
