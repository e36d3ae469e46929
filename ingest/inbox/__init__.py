"""The inbox: what was acknowledged, until it is admitted or quarantined."""
