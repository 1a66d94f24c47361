"""The generated pages of docs/, and what they are made of."""
