"""Any input that PyAV reads, as upright RGB frames and copied packets."""
