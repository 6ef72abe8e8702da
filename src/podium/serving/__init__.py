"""`podium serve`: exported networks answer over HTTP. Torch is never imported here; a run is exported by a process of its own."""
