"""What benchmarks use and this repository does not ship."""
