"""Our own service desk world: a fibre internet provider, its customers and the routers in their homes."""
