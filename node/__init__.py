"""Composition: config, driver, mempool, storage, API and CLI. The only folder that knows everybody."""
