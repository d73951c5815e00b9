"""Parquet: source -> batches -> [score] -> splice, row group by row group."""
