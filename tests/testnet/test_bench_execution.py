"""The execution bench in small: it has to stay true to the code that it measures."""

from pathlib import Path

from testnet.bench.execution import run


def test_execution_bench_measures_every_step(tmp_path: Path) -> None:
    results = {result["name"]: result for result in run(outputs=600, blocks=1, block_size=10, folder=tmp_path)}
    assert list(results) == [
        "execution cold", "execution checked", "execution bare", "proof size", "proof verify"
    ]  # fmt: skip
    steps = ["decode", "stateless", "signatures", "execute", "tree", "rows", "batch and sync", "background"]
    for name in ("cold", "checked", "bare"):
        assert list(results[f"execution {name}"]["split_us"]) == steps
    assert all(result["value"] > 0 and result["ratio"] > 0 for result in results.values())
    assert results["proof size"]["value"] < 5000
    assert list(tmp_path.iterdir()) == []
