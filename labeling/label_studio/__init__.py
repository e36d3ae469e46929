"""Label Studio itself: its HTTP API, its result format, the labelling page, and a local server for one person.

Knows neither the store nor how personal data is found.
"""
