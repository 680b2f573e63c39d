"""The policy: its architecture, initial weights, adapter, precision and sizes. Knows no loss and no data."""
