"""One module for each command; `nexus` loads them by name."""
