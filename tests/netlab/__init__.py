"""Real browsers behind links of real packets: network namespaces, which need root and Linux."""
