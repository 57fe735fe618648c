"""What h9s is measured with: see docs/benchmarks.md."""
