"""The routes of the HTTP API, by who asks for them."""
