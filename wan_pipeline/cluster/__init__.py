"""Clips made on other machines: the studio's queue handed out to the nodes of a Ray cluster.

The studio's machine claims the jobs, sends what a clip needs, and takes its frames back; a node knows no queue. Ray is
imported by `ray_pool` alone.
"""
