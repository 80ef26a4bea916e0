"""``fairlead gossip``."""
