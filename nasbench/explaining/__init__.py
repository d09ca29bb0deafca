"""Why a network answers as it does: where Grad-CAM sees the evidence, and what its attention looks at, how far away."""
