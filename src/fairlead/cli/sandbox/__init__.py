"""The commands of ``fairlead sandbox``."""
