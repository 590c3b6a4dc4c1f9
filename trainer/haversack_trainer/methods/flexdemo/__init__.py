"""FlexDeMo: compressed momentum between peers (DeMo, arXiv 2411.19870; FlexDeMo / DeToNATION, arXiv 2502.06728)."""
