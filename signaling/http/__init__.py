"""HTTP: listening sockets, middleware, routes, WHIP and WHEP, TLS and proxies."""
