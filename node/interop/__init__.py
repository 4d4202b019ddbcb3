"""The process beside a node that peers of stock libp2p dial. It knows the node by its read-only API alone."""
