"""The demo: performs the whole loop against a real, freshly started shoptalk, and narrates it."""
