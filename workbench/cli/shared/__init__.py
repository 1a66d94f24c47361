"""What several commands use: options, exit codes, lazy loading, inputs, the deployed stack."""
