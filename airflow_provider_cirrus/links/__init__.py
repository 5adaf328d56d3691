"""Links of tasks to the Cirrus console."""
