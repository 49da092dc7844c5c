"""The demo: images made by code, a real PACS on this machine, and one batch through pacstream."""
