"""Stand-ins that speak the real protocol."""
