"""What is computed of each admitted turn, once: embedding, language, near-duplicates, topics."""
