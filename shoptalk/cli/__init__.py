"""The command line: a module for each word that a user types, which adds its commands and imports when called."""
