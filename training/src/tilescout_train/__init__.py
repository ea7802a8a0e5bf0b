"""Training and export of Tilescout's bundled dual encoder."""
