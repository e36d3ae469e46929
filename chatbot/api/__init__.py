"""The HTTP API. `app.make_app(services)` builds it from what it needs; nothing here is global."""
