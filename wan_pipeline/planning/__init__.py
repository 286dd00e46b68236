"""How a clip fits a machine: geometry, memory plans, stage costs and the choice between plans. No torch."""
