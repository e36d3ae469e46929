"""What every stage of shoptalk shares: domain types, store, artifacts, registry, jobs and the command line."""
