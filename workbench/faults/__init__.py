"""What may go wrong, and what must hold all the same: shared by simulated days and chaos days."""
