"""One endpoint over several interfaces."""
