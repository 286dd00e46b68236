"""The server: who may use which route, the page of the owner and of guests, the HTTP API, and tools for agents."""
