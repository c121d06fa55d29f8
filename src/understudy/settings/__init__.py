"""What a command can be told: fields, help and faults. No torch: `--help` stays instant."""
