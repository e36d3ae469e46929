"""The command line: one module for each command word, which adds its commands and imports what it needs when called."""
