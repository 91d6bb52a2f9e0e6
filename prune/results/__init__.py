"""Results that stages hand on: plain data, without torch."""
