"""Rules that find personal data by its form."""
