"""Personal data found by what was asked for, is on record or was found before."""
