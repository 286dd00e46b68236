"""How the studio itself keeps up: its queue, gallery, lists and cluster."""
