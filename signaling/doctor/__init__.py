"""`python -m signaling doctor`: what will not work in this deployment, and what to do."""
