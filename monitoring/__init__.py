"""Watches what customers write and what they are told: drift tests, Evidently reports, triggers."""
