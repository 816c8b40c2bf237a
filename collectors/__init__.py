"""Live collection in a training process; what they write is read like any other trace."""
