"""Groups of commands, each a Typer application of its own that `readside.cli` mounts."""
