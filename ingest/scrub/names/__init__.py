"""Names of people, found by lists and by what stands around them."""
