"""Field map, its uncertainty and R2* from sums over channels and echo pairs."""
