"""Tests of pacstream, by service and by reach: unit, integration, e2e, chaos."""
