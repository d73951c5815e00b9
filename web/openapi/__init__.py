"""The API's own description, as an OpenAPI 3.1 document: one module for each group of operations.

Nothing is derived from the routes: what an endpoint takes and answers is said here, and what can go wrong with it.
That both stay the same is what tests/web/test_openapi.py (every route) and `python -m tests.conformance` (every
answer) are for. Imported when somebody asks for the document.
"""
