"""The manifests on a real cluster of one node: `make test-k8s`."""
