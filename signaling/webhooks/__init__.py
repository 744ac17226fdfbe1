"""Events for programs elsewhere."""
