"""The stage customers meet: the engine, the router, releases, the HTTP API and its pages."""
