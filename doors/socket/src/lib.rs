//! Endpoints that speak protocols of their own: framing, handlers, datagrams, and handlers in libraries.
