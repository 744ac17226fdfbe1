"""Several hubs as one server: leases in Redis, links between hubs, takeover after a death."""
