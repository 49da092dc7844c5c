"""What all services share: messages, topology, settings, the zones on disk, and the edges."""

__version__ = "0.1.0"

IMPLEMENTATION_UID = "2.25.278423014411834028417230983176401573961"
IMPLEMENTATION_VERSION = "PACSTREAM_01"
"""(0002,0012) and (0002,0013) of every file and association of ours, PS3.10 section 7.1."""
