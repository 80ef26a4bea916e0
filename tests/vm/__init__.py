"""Tests on Debian's own kernel, in the emulated machine (tests/lane): what the machine's kernel may lack is not skipped."""
