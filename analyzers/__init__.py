"""Pure functions from a Trace to numbers and causes: they never print, plot or touch a network."""
