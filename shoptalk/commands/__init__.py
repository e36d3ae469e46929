"""The command line's groups; each adds its commands to the app and imports its stage when called."""
