"""The benchmark of abusive visitors beside honest customers: `python -m bench.abuse`, see `__main__`."""
