"""The names of identity formats, and the algorithms behind them."""
