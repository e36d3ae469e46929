"""Features, computed once per admitted turn: embedding, language, near-duplicates, topics."""
