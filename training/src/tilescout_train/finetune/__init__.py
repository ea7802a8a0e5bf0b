"""Fine-tunes a CLIP checkpoint on captions of overhead scenes and exports it as a model folder."""
