"""The experiment floor: what the notebooks call. It uses the serving floor; never the reverse."""
