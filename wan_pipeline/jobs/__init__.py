"""Jobs: durable rows, the process that works them off, and the thread that keeps that process alive."""
