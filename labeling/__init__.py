"""Gets labels from people: samples replies, pushes them to Label Studio, pulls annotations and makes labels of them.

Knows the store and Label Studio, but neither the model nor how personal data is found: the scrubber is passed in.
"""
