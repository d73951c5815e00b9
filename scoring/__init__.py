"""Streams of rows: job -> blocks -> [read, conform, score, encode] -> commit -> receipt."""
