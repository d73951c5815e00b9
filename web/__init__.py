"""The HTTP API; mounted in function_app.py, or alone under uvicorn as web.app:app."""
