"""``fairlead http-mesh``."""
