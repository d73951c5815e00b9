"""A local Functions host: runs a Python v2 app with real storage triggers where Core Tools is not installed.

`host.py` says what runs and how it ends; each trigger is a module of its own. Indexing, binding conversion and
invocation are the worker's (`azure_functions_runtime`), the same code that runs in Azure, and never ours.
"""
