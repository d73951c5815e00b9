"""The commands of `python -m model_store`, beside those in __main__.py: one file for each matter."""
