"""Validators that break the rules: wrappers around the real core, which keep its key and rewrite what it says."""
