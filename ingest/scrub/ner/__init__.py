"""Small models that find names and places where no rule does."""
