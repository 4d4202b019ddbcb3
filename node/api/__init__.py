"""The HTTP interface: one table of methods behind REST, JSON-RPC and OpenAPI, and a websocket of events."""
