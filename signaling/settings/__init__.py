"""One table of settings: flag, variable, TOML key, help and bounds."""
