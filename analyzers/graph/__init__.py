"""What every operation and call of a rank waited for, as a graph that can be replayed."""
