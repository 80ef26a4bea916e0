"""``fairlead lab``: several hosts on one machine. One verb per file; the work is done by ``fairlead.lab``."""

from fairlead.cli.lab.group import command as command
