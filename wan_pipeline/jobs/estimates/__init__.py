"""How long jobs take: learned from jobs that are done."""
