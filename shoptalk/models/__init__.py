"""The base model's files, adapters' files, and the registry of adapter versions."""
