"""The pages: the customer's chat at `/`, the engineer's console at `/console`."""
