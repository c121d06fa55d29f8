"""Adapters: small trained parts inside an encoder that stays as it is."""
