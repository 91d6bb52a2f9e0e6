"""Result types that stages exchange: plain data, without torch."""
