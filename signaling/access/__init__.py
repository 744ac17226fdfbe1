"""Access control: tokens, TURN credentials, rates and limits by address."""
