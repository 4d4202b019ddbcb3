"""A network on one machine: launcher, load, demo and benchmarks."""
