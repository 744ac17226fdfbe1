"""Session descriptions: parsed from untrusted text, negotiated, written."""
