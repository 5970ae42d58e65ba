"""The `madang` command and the composition root."""
